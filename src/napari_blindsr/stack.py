"""Stacks: plane after plane, with kernels that planes share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.engine.result import Progress
from napari_blindsr.errors import BlindSRError, OutOfMemoryError
from napari_blindsr.settings import method_named
from napari_blindsr.shared_kernel import informative_planes, read_shared
from napari_blindsr.stack_job import StackJob, prepare_stack
from napari_blindsr.stack_target import ArrayTarget, OutputError
from napari_blindsr.tally import SharedKernel, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.formats.description import LazyArray
    from napari_blindsr.layout import Index
    from napari_blindsr.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stack_result import StackOptions, StackResult
    from napari_blindsr.stack_target import StackTarget


def restore_stack(
    image: ArrayLike | LazyArray,
    settings: Settings,
    *,
    axes: str,
    options: StackOptions | None = None,
    known_kernel: NDArray[Any] | None = None,
    mask: ArrayLike | None = None,
    target: StackTarget | None = None,
    progress: Callable[[Progress], bool | None] | None = None,
) -> StackResult:
    """Restore the planes of an array of any axes.

    Each plane is restored by itself: along Z, too, nothing is sharpened.

    Parameters
    ----------
    image : array_like
        Of any axes and number type; of a lazy array (Dask, Zarr, memory-mapped) one plane at a
        time is read.
    settings : Settings
        As for one image.
    axes : str
        One letter an axis: Y and X, S for RGB, and any others, such as "TCZYX".
    options : StackOptions, optional
        Which planes and what part of them, which of them share a kernel, and of which type the
        result is.
    known_kernel : ndarray, (K, K), optional
        As in `iterate`.
    mask : array_like, (h, w), optional
        Nonzero where every plane is covered.
    target : StackTarget, optional
        Takes the result as it comes, and tells what of it is there already. The result's `image`
        is then empty.
    progress : callable, optional
        Called with a `Progress` after each plane, and in between; a true return value ends the run
        after the plane that is being restored.

    Returns
    -------
    StackResult

    Raises
    ------
    BlindSRError
        Bad input, before any work; or a failure of every plane.
    """
    run = iterate_stack(
        image,
        settings,
        axes=axes,
        options=options,
        known_kernel=known_kernel,
        mask=mask,
        target=target,
    )
    stop: bool | None = None
    while True:
        try:
            report = run.send(stop) if stop is not None else next(run)
        except StopIteration as end:
            result: StackResult = end.value
            return result
        stop = bool(progress(report)) if progress is not None else False


def iterate_stack(
    image: ArrayLike | LazyArray,
    settings: Settings,
    *,
    axes: str | None,
    options: StackOptions | None = None,
    known_kernel: NDArray[Any] | None = None,
    mask: ArrayLike | None = None,
    target: StackTarget | None = None,
) -> Generator[Progress, bool | None, StackResult]:
    """Run plane by plane: yields `Progress`, returns a `StackResult`.

    Parameters as in `restore_stack`. A true value that is sent in ends the run after the plane that
    is being restored.
    """
    start = time.perf_counter()
    job = prepare_stack(
        image, settings, axes=axes, options=options, known_kernel=known_kernel, mask=mask
    )
    array: NDArray[Any] | None = None
    if target is None:
        target = memory = ArrayTarget(job.result.shape, job.dtype)
        array = memory.array
    todo = [index for index in job.indices if not target.finished(job.position(index))]
    tally = Tally(job, kept=len(job.indices) - len(todo))
    clock = _Clock(start=start, total=len(todo))
    kernels = yield from _shared_kernels(job, todo, clock)
    stop = False
    for index in todo:
        if stop:
            break
        shared = kernels.get(job.group(index))
        place = job.place(target, index)
        run = job.run(index, None if shared is None else shared.kernel, target=place)
        try:
            result, stop = yield from _watched(run, clock)
        except (OutOfMemoryError, OutputError):
            raise
        except BlindSRError as error:
            place.fill()
            tally.failed(index, error)
        else:
            tally.restored(index, result, shared, clipped=place.clipped)
            target.note(job.position(index), tally.records[-1])
        clock.done += 1
        stop = bool((yield clock.progress())) or stop
    return tally.result(array, seconds=time.perf_counter() - start, total=len(todo))


@dataclass(kw_only=True)
class _Clock:
    """How many planes are done, and since when."""

    start: float
    total: int
    done: int = 0
    began: float = field(default_factory=time.perf_counter)

    def progress(self, inner: Progress | None = None) -> Progress:
        """Return how far the run is, and what is being done to the plane at hand."""
        now = time.perf_counter()
        pace = (now - self.began) / self.done if self.done else None
        stage = f"plane {min(self.done + 1, self.total)} of {self.total}"
        return Progress(
            step=self.done,
            total=self.total,
            stage=stage if inner is None else f"{stage}: {inner.stage}",
            loss=None if inner is None else inner.loss,
            seconds=now - self.start,
            remaining=None if pace is None else pace * (self.total - self.done),
            unit="plane",
        )


def _watched(
    run: Generator[Progress, bool | None, Result], clock: _Clock
) -> Generator[Progress, bool | None, tuple[Result, bool]]:
    """Restore a plane; a request to stop is remembered until it is done."""
    stop = False
    while True:
        try:
            inner = next(run)
        except StopIteration as end:
            result: Result = end.value
            return result, stop
        stop = bool((yield clock.progress(inner))) or stop


def _shared_kernels(
    job: StackJob, todo: Sequence[Index], clock: _Clock
) -> Generator[Progress, bool | None, dict[Index, SharedKernel]]:
    """Return the kernel of each group of planes, where planes share one."""
    if job.known is not None:
        return dict.fromkeys(map(job.group, todo), SharedKernel(kernel=job.known))
    if job.options.kernels == "plane":
        return {}
    needed = set(map(job.group, todo))
    groups: dict[Index, list[Index]] = {}
    for index in job.indices:
        if job.group(index) in needed:
            groups.setdefault(job.group(index), []).append(index)
    found: dict[Index, SharedKernel] = {}
    for number, (group, indices) in enumerate(groups.items()):
        yield replace(
            clock.progress(), stage=f"reading the blur, kernel {number + 1} of {len(groups)}"
        )
        try:
            planes = informative_planes(job, indices)
        except BlindSRError:
            # None of these planes can be restored; each says why in its turn.
            continue
        if method_named(job.settings.method).optimises:
            result, _ = yield from _watched(job.run(planes[0].index, None), clock)
            found[group] = SharedKernel(kernel=result.kernel)
        else:
            blur = read_shared(planes, job)
            found[group] = SharedKernel(kernel=blur.kernel, blur=blur)
    return found
