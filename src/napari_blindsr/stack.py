"""Stacks: plane after plane, with kernels that planes share."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.engine.result import StopReason
from napari_blindsr.runner import Clock, LocalRunner, PlaneOutcome, Runner
from napari_blindsr.stack_job import StackJob, prepare_stack
from napari_blindsr.stack_target import ArrayTarget
from napari_blindsr.steadied import steadied
from napari_blindsr.tally import SharedKernel, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.engine.result import Progress
    from napari_blindsr.formats.description import LazyArray
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.layout import Index
    from napari_blindsr.settings import Settings
    from napari_blindsr.stack_result import StackOptions, StackResult
    from napari_blindsr.stack_target import StackTarget


def restore_stack(
    image: ArrayLike | LazyArray,
    settings: Settings,
    *,
    axes: str,
    options: StackOptions | None = None,
    known_kernel: NDArray[Any] | KernelField | None = None,
    mask: ArrayLike | None = None,
    target: StackTarget | None = None,
    client: Client | None = None,
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
    known_kernel : ndarray, (K, K) or (R, C, K, K), or KernelField, optional
        As in `iterate`.
    mask : array_like, (h, w), optional
        Nonzero where every plane is covered.
    target : StackTarget, optional
        Takes the result as it comes, and tells what of it is there already. The result's `image`
        is then empty.
    client : distributed.Client, optional
        Of a Dask cluster whose workers restore the planes; the result is the same.
    progress : callable, optional
        Called with a `Progress` after each plane, and in between; a true return value ends the run
        after the planes that are being restored.

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
        client=client,
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
    known_kernel: NDArray[Any] | KernelField | None = None,
    found: bool = False,
    mask: ArrayLike | None = None,
    target: StackTarget | None = None,
    client: Client | None = None,
) -> Generator[Progress, bool | None, StackResult]:
    """Run plane by plane: yields `Progress`, returns a `StackResult`.

    Parameters as in `restore_stack`, `found` as in `iterate`. A true value that is sent in ends
    the run after the planes that are being restored.
    """
    job = prepare_stack(
        image,
        settings,
        axes=axes,
        options=options,
        known_kernel=known_kernel,
        found=found,
        mask=mask,
    )
    runner: Runner | None = None
    if client is not None:
        # Clusters are an extra.
        from napari_blindsr.cluster_runner import ClusterRunner  # noqa: PLC0415

        runner = ClusterRunner(client)
    return (yield from run_stack(job, target=target, runner=runner))


def run_stack(
    job: StackJob, *, target: StackTarget | None = None, runner: Runner | None = None
) -> Generator[Progress, bool | None, StackResult]:
    """Run a stack that is checked: yields `Progress`, returns a `StackResult`.

    Parameters
    ----------
    job : StackJob
    target : StackTarget, optional
        As in `restore_stack`.
    runner : Runner, optional
        Who restores the planes; this process, if left out.
    """
    start = time.perf_counter()
    runner = LocalRunner() if runner is None else runner
    array: NDArray[Any] | None = None
    if target is None:
        memory = ArrayTarget(job.result.shape, job.dtype)
        target, array = memory, memory.array
    todo = [index for index in job.indices if not target.finished(job.position(index))]
    tally = Tally(job, kept=len(job.indices) - len(todo))
    clock = Clock(start=start, total=len(todo))
    kernels: dict[Index, SharedKernel] = {}
    stop = False
    if job.known is not None:
        kernels = dict.fromkeys(map(job.group, todo), SharedKernel(kernel=job.known))
    elif job.options.kernels != "plane" or (job.steadies and todo):
        # Planes that are finished tell of their neighbours as well.
        groups = _groups(job, job.indices if job.steadies else todo)
        stop = yield from runner.kernels(job, groups, clock, kernels)
        if job.steadies and not stop:
            kernels.update(steadied(job, kernels))

    def deliver(outcome: PlaneOutcome) -> None:
        place = job.place(target, outcome.index)
        if outcome.result is None:
            assert outcome.error is not None
            place.fill()
            tally.failed(outcome.index, outcome.error)
        else:
            if outcome.pixels is not None:
                place.put(outcome.pixels)
            shared = kernels.get(job.group(outcome.index))
            record = tally.restored(outcome.index, outcome.result, shared, clipped=outcome.clipped)
            if outcome.result.reason is StopReason.STOPPED:
                # Some of its tiles are there; it is none that is complete.
                return
            target.note(job.position(outcome.index), record)
        clock.done += 1

    if not stop:
        held = {group: shared.kernel for group, shared in kernels.items()}
        given = [(index, held.get(job.group(index))) for index in todo]
        yield from runner.planes(job, given, target, clock, deliver)
    result = tally.result(array, seconds=time.perf_counter() - start, total=len(todo))
    return replace(result, notes=(*result.notes, *runner.notes(job)))


def _groups(job: StackJob, todo: Sequence[Index]) -> dict[Index, list[Index]]:
    """Return which planes share a kernel, for all kernels that are needed.

    Planes that are finished count as well, so that a run that is gone on with finds the same.
    """
    needed = set(map(job.group, todo))
    groups: dict[Index, list[Index]] = {}
    for index in job.indices:
        if job.group(index) in needed:
            groups.setdefault(job.group(index), []).append(index)
    return groups
