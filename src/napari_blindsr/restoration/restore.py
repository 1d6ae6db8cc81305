"""Restore one image: the entry point of scripts, the command line and the dock."""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import torch

from napari_blindsr.errors import (
    EngineError,
    InputError,
    OutOfMemoryError,
    SettingsError,
    first_line,
    near,
)
from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.planes import check_axes, plane_shape
from napari_blindsr.images.tiling import Box, as_box
from napari_blindsr.methods import METHODS, plan_schedule
from napari_blindsr.optics import UNKNOWN
from napari_blindsr.physics.kernel_files import check_kernels, read_kernel
from napari_blindsr.physics.kernels import FAMILY_NAMES, KernelFamily
from napari_blindsr.progress import ProgressCounter, drained
from napari_blindsr.restoration.evidence import run_flags
from napari_blindsr.restoration.reconstruct import is_lack_of_memory, restored
from napari_blindsr.restoration.result import Result
from napari_blindsr.restoration.setup import prepare, with_blur
from napari_blindsr.restoration.uncertainty import find_uncertainty
from napari_blindsr.settings import Settings, as_family

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from napari_blindsr.images.tiling import Target
    from napari_blindsr.methods import Schedule, ScheduleName
    from napari_blindsr.optics import Optics
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.problem import Link, Problem
    from napari_blindsr.restoration.reconstruct import Restored
    from napari_blindsr.types import Border, Finish, Geometry, Precision, Quality


class Options(TypedDict, total=False):
    """Options of `restore` by keyword: the attributes of `Settings`, in more forms, and `steps`."""

    scale: int
    method: str
    kernel: str | os.PathLike[str] | KernelFamily | KernelField | NDArray[Any]
    geometry: Geometry
    border: Border
    bounded: bool | None
    gain: float | Literal["auto"]
    noise: float | Literal["auto"]
    mask_saturated: bool
    finish: Finish | None
    usrnet_weights: str | os.PathLike[str] | None
    quality: Quality
    schedule: Schedule | ScheduleName
    steps: int | None
    seed: int
    device: str
    precision: Precision
    threads: int | None
    tile: int | Literal["auto"] | None
    uncertainty: int
    field: tuple[int, int]
    optics: Optics | None


def restore(
    image: ArrayLike,
    settings: Settings | None = None,
    *,
    axes: str | None = None,
    mask: ArrayLike | None = None,
    region: Box | tuple[slice, slice] | None = None,
    progress: Callable[[Progress], bool | None] | None = None,
    **options: Unpack[Options],
) -> Result:
    """Estimate the blur of an image, and restore the image on a grid `scale` times finer.

    Parameters
    ----------
    image : array_like
        Grey (h, w) or RGB (h, w, 3); with `axes` also (C, h, w). uint8, uint16 or float,
        finite.
    settings : Settings, optional
        Needed unless `scale` is given.
    axes : str, optional
        "YX", "YXC" or "CYX"; guessed from the shape if left out.
    mask : array_like (h, w), optional
        Nonzero where pixels are missing; they are filled in. Not for MLMC; the other methods also
        treat pixels that are not finite as missing.
    region : Box or tuple of slice, optional
        Rows and columns to restore, instead of all; pixels around them are used as far as they
        have an influence. The result covers the region alone.
    progress : callable, optional
        Called with a `Progress` after each step; a true return value stops the run, which then
        returns the best state so far.
    **options
        Attributes of `Settings`, such as ``scale=2``; they replace those of `settings`. Besides
        what is described there, `kernel` may be

        - the name of a kernel family ("auto" by default), to estimate the kernel from;
        - an array (K, K), or the path of a file with one: a known correlation kernel in HR pixels;
        - an array (R, C, K, K), or the `KernelField` of an earlier result: the known kernels of
          R × C regions that divide the image,

        `schedule` a name, "published" or "reference", and `steps` the number of image steps, with
        which the phases of the schedule scale; an error with method "fast".

    Returns
    -------
    Result

    Raises
    ------
    BlindSRError
        Bad input or settings (before any work starts), a missing device, or a failed computation.

    Examples
    --------
    >>> from napari_blindsr import restore
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> image = fluorescence().image
    >>> image.shape
    (64, 64)
    >>> result = restore(image, scale=2)
    >>> result.image.shape, result.reason.value
    ((128, 128), 'completed')
    """
    run = iterate(image, settings, axes=axes, mask=mask, region=region, **options)
    return drained(run, progress)


def iterate(
    image: ArrayLike,
    settings: Settings | None = None,
    *,
    axes: str | None = None,
    known_kernel: NDArray[Any] | KernelField | None = None,
    found: bool = False,
    mask: ArrayLike | None = None,
    region: Box | tuple[slice, slice] | None = None,
    target: Target | None = None,
    link: Link | None = None,
    **options: Unpack[Options],
) -> Generator[Progress, bool | None, Result]:
    """Restore step by step: yields `Progress`, returns a `Result`.

    Send a true value to stop within one step; the best state so far is then returned. Image and
    settings are checked before any work, when the first value is requested. All failures are
    `BlindSRError`, never `RuntimeError`.

    Parameters
    ----------
    image, settings, axes, mask, region, **options
        As in `restore`.
    known_kernel : ndarray, (K, K) or (R, C, K, K), or KernelField, optional
        A kernel, or a grid of the kernels of the image's regions. Required if, and only if,
        ``settings.kernel`` is "known".
    found : bool
        Whether that kernel was estimated, from other planes, and so is uncertain.
    target : Target, optional
        Receives the restored pixels as they are computed, float32: rows × columns, × 3 for RGB,
        × C for "CYX". The `image` of the result is then empty.
    link : Link, optional
        Weights to start from; the result then has its `weights` for the next plane. Or where a run
        of the same problem has ended, with fewer steps; this one goes on from there.

    Examples
    --------
    >>> from napari_blindsr import iterate
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> run = iterate(fluorescence().image, scale=2, method="mlmc", steps=50)
    >>> report = next(run)
    >>> while report.step < 2:
    ...     report = next(run)
    >>> try:
    ...     run.send(True)
    ... except StopIteration as end:
    ...     print(end.value.reason.value, end.value.image.shape)
    stopped (128, 128)
    """
    start = time.perf_counter()
    settings, kernel = make_settings(settings, **options)
    known = kernel if known_kernel is None else known_kernel
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    box = as_box(region, plane_shape(array, check_axes(array, axes)))
    with translated_errors():
        if settings.uncertainty and target is not None:
            raise SettingsError(
                f"uncertainty is {settings.uncertainty}, which needs the result in memory, but a "
                "target receives its pixels; expected 0"
            )
        problem = prepare(
            array, settings, axes=axes, mask=mask, region=box, known=known, found=found
        )
        problem = replace(problem, link=link)
        stop: bool | None = None
        with cpu_threads(settings.threads):
            if problem.estimates_blur:
                counter = ProgressCounter(start=start, unit="step", total=1)
                stop = yield counter.progress("estimating the blur")
                problem = with_blur(problem)
            joined = yield from restored(problem, target, start=start, stop=bool(stop))
            uncertainty: NDArray[np.float32] | None = None
            more_notes: tuple[str, ...] = ()
            if settings.uncertainty:
                uncertainty, more_notes = yield from find_uncertainty(problem, joined, start=start)
            result = conclude(problem, joined, seconds=time.perf_counter() - start)
    return replace(
        result,
        uncertainty=uncertainty,
        region=box,
        notes=(*result.notes, *more_notes),
        seconds=time.perf_counter() - start,
    )


def conclude(problem: Problem, joined: Restored, *, seconds: float) -> Result:
    """Return the result of a problem, with its flags."""
    planes, settings = problem.planes, problem.settings
    checkpoint = None if problem.link is None else problem.link.checkpoint
    field = problem.source if isinstance(problem.source, KernelField) else None
    flags = run_flags(
        planes,
        joined.kernel,
        settings,
        blur=problem.blur,
        field=field,
        guess=joined.guess,
        residual=joined.residual,
        decision=None if problem.conditions is None else problem.conditions.decision,
        device=problem.compute.device,
    )
    return Result(
        image=joined.image,
        kernel=joined.kernel,
        support=joined.support,
        covered=None if planes.measured is None else joined.support == 0,
        kernel_center=(joined.center, joined.center),
        axes=planes.axes,
        offset=joined.offset,
        tiles=joined.tiles,
        trace=joined.losses,
        settings=settings,
        gain=planes.gain,
        noise=problem.noise * planes.span,
        finish=problem.restorer.name,
        blur=problem.blur,
        # The regions divide the whole image, whatever its input region was.
        field=None if field is None else replace(field, extent=Box.whole(field.extent.shape)),
        notes=(*problem.notes, *joined.notes),
        flags=flags,
        seconds=seconds,
        device=str(problem.compute.device),
        dtype=str(problem.compute.dtype).removeprefix("torch."),
        versions=versions(),
        reason=joined.reason,
        weights=joined.weights,
        continued=0 if checkpoint is None else checkpoint.continued,
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn torch's errors into ours; napari would swallow a RuntimeError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise EngineError(f"the computation failed: {first_line(error)}") from error
        raise OutOfMemoryError(
            f"the device ran out of memory ({first_line(error)}); "
            "try a smaller image or scale, or device 'cpu'"
        ) from error


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads, and restore the number afterwards."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {
        "napari-blindsr": version("napari-blindsr"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def make_settings(
    settings: Settings | None = None, **options: Unpack[Options]
) -> tuple[Settings, NDArray[np.float32] | KernelField | None]:
    """Return the settings that options of `restore` stand for, and the known kernel, if any.

    A `BlindSRError` if an option is unknown or out of its range, or the kernel cannot be read.
    """
    known_names = [*Options.__annotations__]
    for name in options:
        if name not in known_names:
            raise SettingsError(f"there is no option {name!r}; {near(name, known_names)}")
    values: dict[str, Any] = {"kernel": "auto", "schedule": "published"}
    if settings is not None:
        values |= {field.name: getattr(settings, field.name) for field in fields(settings)}
    values |= options
    family, known = _kernel_model(values["kernel"], values.get("optics"))
    path = values.get("usrnet_weights")
    values |= {
        "kernel": family,
        "usrnet_weights": None if path is None else os.fspath(path),
        "schedule": plan_schedule(
            values["schedule"],
            method=values.get("method", METHODS[0]),
            kernel=family.name if isinstance(family, KernelFamily) else family,
            steps=values.pop("steps", None),
        ),
        "optics": UNKNOWN if values.get("optics") is None else values["optics"],
    }
    return Settings(**values), known


def _kernel_model(
    kernel: str | os.PathLike[str] | KernelFamily | KernelField | NDArray[Any],
    optics: Optics | None,
) -> tuple[KernelFamily | Literal["known"], NDArray[np.float32] | KernelField | None]:
    """Return the family of a kernel that is to be estimated, or "known" and the known kernel."""
    if isinstance(kernel, KernelFamily):
        return kernel, None
    if isinstance(kernel, KernelField):
        return "known", kernel
    if isinstance(kernel, str) and kernel == "known":
        return "known", None
    if isinstance(kernel, str) and kernel in FAMILY_NAMES:
        return as_family(kernel, optics), None
    if isinstance(kernel, str | os.PathLike):
        if not Path(kernel).exists():
            raise InputError(
                f"kernel is {os.fspath(kernel)!r}; expected one of {list(FAMILY_NAMES)} "
                "or the path of a file with a kernel"
            )
        kernel = read_kernel(kernel)
    return "known", check_kernels(kernel)
