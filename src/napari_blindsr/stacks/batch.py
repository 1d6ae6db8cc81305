"""Many files: where results go, which are complete, and several at once."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import BlindSRError, ClusterError, FileError
from napari_blindsr.images.atomic import Bundle, check_output, complete, make_folder
from napari_blindsr.images.files import check_image, create_image, image_suffixes, open_image
from napari_blindsr.images.plain import write_report
from napari_blindsr.physics.kernel_files import write_kernel
from napari_blindsr.progress import ProgressCounter
from napari_blindsr.stacks.executor import interleaved
from napari_blindsr.stacks.outputs import FileTarget, can_go_on, journal_of
from napari_blindsr.stacks.plan import prepare_stack
from napari_blindsr.stacks.restore_stack import run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.images.metadata import Description
    from napari_blindsr.progress import Progress
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.executor import Executor
    from napari_blindsr.stacks.options import StackOptions
    from napari_blindsr.stacks.plan import StackProblem
    from napari_blindsr.stacks.result import StackResult
    from napari_blindsr.types import FileFormat


ENDINGS = (".ome.zarr", ".ome.tiff", ".ome.tif")


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """An image file and the files that its result is written to.

    Attributes
    ----------
    source, image : Path
        The input, and the restored image.
    kernel, report : Path
        The kernels, (K, K) or (n, K, K), as .npy; and the report of the run, as .json.
    series : int or None
        Which image of a file with several.
    """

    source: Path
    image: Path
    kernel: Path
    report: Path
    series: int | None = None


def file_job(source: Path, image: Path) -> FileJob:
    """Return the `FileJob` with a given output image; kernel and report go beside it."""
    stem, _ = split_name(image)
    return FileJob(
        source=source,
        image=image,
        kernel=image.with_name(f"{stem}.kernel.npy"),
        report=image.with_name(f"{stem}.json"),
    )


def plan_files(
    sources: Sequence[Path], folder: Path, *, scale: int, file_format: FileFormat = "same"
) -> list[FileJob]:
    """Return where the results of files are written: ``NAME_x4.tif`` and the like, in one folder.

    Parameters
    ----------
    sources : sequence of Path
    folder : Path
    scale : int
    file_format : {"same", "tif", "zarr", "npy"}
        "same" is that of the source, with TIFF for those that cannot hold the results.

    Raises
    ------
    FileError
        If two results would have the same name.
    """
    jobs: list[FileJob] = []
    for source in sources:
        stem, ending = split_name(source)
        if file_format != "same":
            ending = {"tif": ".tif", "zarr": ".ome.zarr", "npy": ".npy"}[file_format]
        elif ending == ".png" or ending not in (*ENDINGS, *image_suffixes("write")):
            ending = ".tif"
        job = file_job(source, folder / f"{stem}_x{scale}{ending}")
        twin = next((other for other in jobs if other.image == job.image), None)
        if twin is not None:
            raise FileError(
                f"{twin.source} and {source} would both become {job.image}; expected files of "
                "different names"
            )
        jobs.append(job)
    return jobs


def split_name(path: Path) -> tuple[str, str]:
    """Return the name of a file without its ending, and the ending in lower case."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)], ending
    return path.stem, path.suffix.lower()


def digest(
    job: FileJob,
    settings: Settings,
    options: StackOptions,
    *,
    axes: str | None,
    known: NDArray[Any] | None,
    mask: ArrayLike | None,
) -> str:
    """Return a checksum of a computation: the file's size and time, and all settings.

    Raises
    ------
    FileError
        If the file cannot be found.
    """
    try:
        about = job.source.stat()
    except OSError as error:
        raise FileError(f"cannot read {job.source}: {error.strerror or error}") from error
    parts = [
        str(job.source.resolve()),
        str(about.st_size),
        str(about.st_mtime_ns),
        json.dumps(settings.to_json(), sort_keys=True),
        json.dumps(options.to_json(), sort_keys=True),
        str(axes),
        *(() if job.series is None else (f"series {job.series}",)),
        "" if known is None else np.asarray(known, dtype=np.float32).tobytes().hex(),
        # The bytes of a row of kernels are those of a column.
        *(() if known is None or known.ndim == 2 else (str(known.shape[:2]),)),
        "" if mask is None else hashlib.sha256(np.asarray(mask).tobytes()).hexdigest(),
    ]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()


def is_finished(job: FileJob, run: str) -> bool:
    """Return whether an earlier run of the same computation has completed a file.

    If that run was killed before it renamed its files, they are renamed now.
    """
    if complete(job.image, (job.image, job.kernel, job.report)):
        with suppress(OSError):
            journal_of(job.image).unlink(missing_ok=True)
    try:
        report = json.loads(job.report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Planes that could not be restored would fail again.
    return report.get("reason") == "completed" and report.get("run") == run and job.image.exists()


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenFile:
    """A file that is open and checked; no pixels are read yet.

    Attributes
    ----------
    job : FileJob
    stack : StackProblem
    description : Description
        Of the result.
    notes : tuple of str
        What was left out when the file was opened.
    about : mapping
        What the report has as well.
    """

    job: FileJob
    stack: StackProblem
    description: Description
    notes: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def open_file(
    job: FileJob,
    settings: Settings,
    options: StackOptions,
    *,
    axes: str | None = None,
    known: NDArray[Any] | None = None,
    mask: ArrayLike | None = None,
    force: bool = False,
) -> OpenFile:
    """Open a file and check that it can be restored, and the result written.

    Raises
    ------
    BlindSRError
    """
    opened = open_image(job.source, axes=axes, series=job.series)
    given = opened.description
    stack = prepare_stack(
        opened.array, settings, axes=given.axes, options=options, known_kernel=known, mask=mask
    )
    description = _described(given, stack)
    for path in (job.kernel, job.report):
        check_output(path, suffixes=(path.suffix,), force=force)
    check_image(
        job.image,
        shape=stack.result.shape,
        dtype=stack.dtype,
        description=description,
        force=force,
    )
    return OpenFile(job=job, stack=stack, description=description, notes=given.notes)


def open_unfinished(
    job: FileJob,
    settings: Settings,
    options: StackOptions,
    *,
    axes: str | None = None,
    known: NDArray[Any] | None = None,
    mask: ArrayLike | None = None,
    force: bool = False,
) -> tuple[OpenFile, str] | None:
    """Open a file as `open_file` does; returns it with what identifies its run, see `digest`.

    The folder of its result is made. None if an earlier run of the same computation has completed
    the file, unless `force` restores it again.
    """
    make_folder(job.image.parent)
    given: dict[str, Any] = {"axes": axes, "known": known, "mask": mask}
    run = digest(job, settings, options, **given)
    if not force and is_finished(job, run):
        return None
    return open_file(job, settings, options, force=force, **given), run


def restore_file(
    opened: OpenFile, *, run: str, force: bool = False, executor: Executor | None = None
) -> Generator[Progress, bool | None, StackResult]:
    """Restore a file plane by plane: yields `Progress`, returns the result without its pixels.

    Image, kernels and report are written. After a kill or a stop, an OME-Zarr is resumed by the
    next run; other formats start anew, but a single image that was stopped between tiles is
    written.

    Parameters
    ----------
    opened : OpenFile
    run : str
        Identifies the computation, see `digest`.
    force : bool
        Replace existing files.
    executor : Executor, optional
        Executor that restores the planes; by default this process.
    """
    stack, job = opened.stack, opened.job
    writer = create_image(
        job.image,
        shape=stack.result.shape,
        dtype=stack.dtype,
        description=opened.description,
        force=force,
        resume=True,
        run=run,
    )
    target = FileTarget(writer)
    bundle = Bundle(job.image)
    try:
        result = yield from run_stack(stack, target=target, executor=executor)
        if not is_delivered(result, job.image):
            target.suspend()
            return result
        kernels = stacked_kernels(result)
        if kernels is not None:
            write_kernel(job.kernel, kernels, force=True, bundle=bundle)
        report = {**result.report(), "run": run, "source": str(job.source), **opened.about}
        write_report(job.report, report, force=True, bundle=bundle)
    except BaseException:
        bundle.discard()
        target.suspend()
        raise
    target.finish(bundle)
    bundle.commit()
    target.done()
    return result


def is_delivered(result: StackResult, path: Path) -> bool:
    """Return whether a result is written to its file: if complete, or a part of a single image.

    A single image that was stopped between tiles is written as one process writes it, unless the
    file can be resumed.
    """
    alone = all(len(chosen) == 1 for chosen in result.selection)
    partial = alone and bool(result.records) and not can_go_on(path)
    return result.reason == "completed" or partial


def stacked_kernels(result: StackResult) -> NDArray[np.float32] | None:
    """Return the kernels of a result, (K, K) or (n, K, K), the smaller ones padded with zeros.

    Where the blur varies over the field, (R, C, K, K) or (n, R, C, K, K).
    """
    if not result.kernels:
        return None
    kernels = [entry.kernels for entry in result.kernels]
    side = max(one.shape[-1] for one in kernels)
    padded = []
    for one in kernels:
        margin = (side - one.shape[-1]) // 2
        padded.append(np.pad(one, [(0, 0)] * (one.ndim - 2) + [(margin, margin)] * 2))
    return padded[0] if len(padded) == 1 else np.stack(padded)


def _described(given: Description, stack: StackProblem) -> Description:
    """Return the description of a result: finer pixels, with the origin of its region."""
    settings, region = stack.settings, stack.region
    # The position of the first fine pixel, in camera or benchmark geometry.
    shift = (1 - settings.scale) / 2 / settings.scale
    if settings.geometry == "benchmark":
        shift = -shift
    channels = {
        name: getattr(given, name) for name in ("channel_names", "channel_colors", "displays")
    }
    if "C" in stack.layout.loop_axes:
        chosen = stack.selection[stack.layout.loop_axes.index("C")]
        for name, values in channels.items():
            if len(values) > 1:
                channels[name] = tuple(values[at] for at in chosen)
    whole = tuple(map(len, stack.selection)) == stack.layout.loop_shape
    return replace(
        given.finer(settings.scale, first=(region.top + shift, region.left + shift)),
        **channels,
        labels=given.labels if whole else (),
        notes=(),
    )


TURN = 0.02
"""Seconds between two polls of workers."""


def restore_files(
    files: Sequence[tuple[OpenFile, str]],
    *,
    ended: Callable[[OpenFile, StackResult | BlindSRError], None],
    executor: Executor | None = None,
    at_once: Callable[[], int] = lambda: 1,
    force: bool = False,
) -> Generator[Progress, bool | None, None]:
    """Restore files, on a cluster several at a time: yields the `Progress` over all.

    A true value that is sent in ends the run after the planes in progress.

    Parameters
    ----------
    files : sequence of (OpenFile, str)
        The files, and the checksums of their computations, see `restore_file`.
    ended : callable
        Called with each file and its result or error, in the order in which they end.
    executor : Executor, optional
        Executor that restores the planes of all files; by default this process. One for several
        files at once must not block.
    at_once : callable
        Returns how many files to process at once, which changes as workers join and leave.
    force : bool
        Replace existing files.

    Raises
    ------
    ClusterError
        If the cluster is lost.
    """
    start = time.perf_counter()
    total = sum(len(opened.stack.indices) for opened, _ in files)
    counter = ProgressCounter(start=start, unit="plane", total=total, began=start)
    # By file: the planes that are done.
    done: list[int] = []

    def take(opened: OpenFile, outcome: StackResult | BlindSRError, last: Progress | None) -> None:
        if isinstance(outcome, ClusterError):
            raise outcome
        done.append(_planes_of(last))
        ended(opened, outcome)

    def progress(reports: Sequence[Progress]) -> Progress:
        counter.done = sum(done) + sum(map(_planes_of, reports))
        stage = f"{len(done)} of {len(files)} files"
        return counter.progress(f"{stage}; {reports[0].stage}" if reports else stage)

    steps = (
        (opened, restore_file(opened, run=run, force=force, executor=executor))
        for opened, run in files
    )
    patience = 0.0 if executor is None else TURN
    yield from interleaved(steps, at_once=at_once, ended=take, progress=progress, patience=patience)


def _planes_of(report: Progress | None) -> int:
    """Return how many planes are done; tiles are parts of a plane."""
    return report.step if report is not None and report.unit == "plane" else 0
