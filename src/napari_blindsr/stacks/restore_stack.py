"""Restores stacks plane by plane, with shared kernels, and collects the records of the planes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import NoContrastError
from napari_blindsr.progress import StopReason, drained
from napari_blindsr.restoration.evidence import blur_flags
from napari_blindsr.stacks.executor import Clock, Executor, LocalExecutor, PlaneOutcome
from napari_blindsr.stacks.outputs import ArrayTarget, empty_array
from napari_blindsr.stacks.plan import StackJob, prepare_stack
from napari_blindsr.stacks.result import GroupKernel, PlaneRecord, StackKernel, StackResult
from napari_blindsr.stacks.warm_start import COLD_START, kalman_smoothed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from distributed import Client
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.images.metadata import LazyArray
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.diagnostics import Flag
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.options import StackOptions
    from napari_blindsr.stacks.outputs import StackTarget


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

    Each plane is restored by itself: nothing is sharpened along Z.

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
        Which planes, and which region of them, are restored; which planes share a kernel; and the
        type of the result.
    known_kernel : ndarray, (K, K) or (R, C, K, K), or KernelField, optional
        As in `iterate`.
    mask : array_like, (h, w), optional
        Nonzero where pixels of every plane are missing.
    target : StackTarget, optional
        Receives the result as it is computed, and knows which planes are already complete. The
        result's `image` is then empty.
    client : distributed.Client, optional
        Client of a Dask cluster whose workers restore the planes; the result is the same.
    progress : callable, optional
        Called with a `Progress` after each plane, and in between; a true return value ends the run
        after the planes in progress.

    Returns
    -------
    StackResult

    Raises
    ------
    BlindSRError
        Bad input, before any work; or if every plane failed.
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
    return drained(run, progress)


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

    Parameters as in `restore_stack`, `found` as in `iterate`. A true value that is sent in ends the
    run after the planes in progress.
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
    executor: Executor | None = None
    if client is not None:
        # Clusters need an extra.
        from napari_blindsr.stacks.dask_executor import ClusterExecutor  # noqa: PLC0415

        executor = ClusterExecutor(client)
    return (yield from run_stack(job, target=target, executor=executor))


def run_stack(
    job: StackJob, *, target: StackTarget | None = None, executor: Executor | None = None
) -> Generator[Progress, bool | None, StackResult]:
    """Restore a checked stack, by default in this process: yields `Progress`."""
    start = time.perf_counter()
    executor = LocalExecutor() if executor is None else executor
    array: NDArray[Any] | None = None
    if target is None:
        array = empty_array(job.result.shape, job.dtype)
        target = ArrayTarget(array)
    todo = [index for index in job.indices if not target.finished(job.position(index))]
    summary = StackSummary(job, kept=len(job.indices) - len(todo))
    for noted in target.kept():
        summary.keep(*noted)
    clock = Clock(start=start, total=len(todo))
    kernels: dict[Index, GroupKernel] = {}
    stop = False
    if job.known is not None:
        kernels = dict.fromkeys(map(job.group, todo), GroupKernel(kernel=job.known))
    elif job.options.kernels != "plane" or (job.filters_kernels and todo):
        # Planes that are already complete count as neighbours, too.
        groups = _groups(job, job.indices if job.filters_kernels else todo)
        stop = yield from executor.kernels(job, groups, clock, kernels)
        if job.filters_kernels and not stop:
            kernels.update(kalman_smoothed(job, kernels))

    def deliver(outcome: PlaneOutcome) -> None:
        if _delivered(outcome, job, target, summary, kernels):
            clock.done += 1

    if not stop:
        held = {group: shared.kernel for group, shared in kernels.items()}
        given = [(index, held.get(job.group(index))) for index in todo]
        yield from executor.planes(job, given, target, clock, deliver)
    result = summary.result(array, seconds=time.perf_counter() - start, total=len(todo))
    return replace(result, notes=(*result.notes, *executor.notes(job)))


def _delivered(
    outcome: PlaneOutcome,
    job: StackJob,
    target: StackTarget,
    summary: StackSummary,
    kernels: Mapping[Index, GroupKernel],
) -> bool:
    """Pass the result of a plane to target and summary; returns whether the plane is complete."""
    place = job.place(target, outcome.index)
    if isinstance(outcome.error, NoContrastError):
        # Whatever the blur, it leaves a constant plane unchanged.
        place.fill(outcome.error.value)
        record = summary.constant(outcome.index, outcome.error)
        target.note(job.position(outcome.index), record)
        return True
    if outcome.result is None:
        assert outcome.error is not None
        place.fill()
        summary.failed(outcome.index, outcome.error)
        return True
    if outcome.pixels is not None:
        place.put(outcome.pixels)
    result, shared = outcome.result, kernels.get(job.group(outcome.index))
    kernel = StackKernel(
        kernel=result.kernel,
        center=result.kernel_center[0],
        indices=(outcome.index,),
        blur=result.blur if shared is None else shared.blur,
        field=result.field,
    )
    # A plane that was given its kernel does not know how sure that is.
    estimated = kernel.blur if result.blur is None else None
    flags = () if estimated is None else blur_flags(kernel.kernel, estimated)
    record = summary.restored(result, kernel, clipped=outcome.clipped, flags=flags)
    if result.reason is StopReason.STOPPED:
        # Some tiles are missing: the plane is incomplete.
        return False
    target.note(job.position(outcome.index), record, kernel if result.field is None else None)
    return True


def _groups(job: StackJob, todo: Sequence[Index]) -> dict[Index, list[Index]]:
    """Return which planes share a kernel, for all kernels that are needed.

    Complete planes count, too, so that a resumed run estimates the same kernels.
    """
    needed = set(map(job.group, todo))
    groups: dict[Index, list[Index]] = {}
    for index in job.indices:
        if job.group(index) in needed:
            groups.setdefault(job.group(index), []).append(index)
    return groups


CONSTANT = "the plane is constant, and so is its restoration"


class StackSummary:
    """Collects per-plane records into a `StackResult`; `kept` planes are of an earlier run."""

    def __init__(self, job: StackJob, *, kept: int) -> None:
        self._records: list[PlaneRecord] = []
        self._earlier: list[PlaneRecord] = []
        self._job = job
        self._kept = kept
        self._kernels: dict[Index, StackKernel] = {}
        self._covered: NDArray[np.bool_] | None = None
        self._example: tuple[Index, Result] | None = None
        self._failure: tuple[Index, BlindSRError] | None = None
        self._constant: NoContrastError | None = None
        self._partial: list[PlaneRecord] = []

    def keep(self, record: PlaneRecord, kernel: StackKernel | None) -> None:
        """Add the record of a plane that an earlier run completed."""
        self._earlier.append(record)
        if kernel is not None:
            self._add_kernel(kernel)

    def _add_kernel(self, kernel: StackKernel) -> None:
        """Add the kernel of one plane; a group of planes keeps that of its first plane."""
        (index,) = kernel.indices
        group = self._job.group(index)
        before = self._kernels.get(group, kernel)
        first = kernel if index < before.indices[0] else before
        indices = tuple(sorted({index, *before.indices}))
        self._kernels[group] = replace(first, indices=indices)

    def failed(self, index: Index, error: BlindSRError) -> None:
        """Record that a plane could not be restored."""
        self._records.append(PlaneRecord(index=index, error=str(error)))
        if self._failure is None or index > self._failure[0]:
            self._failure = index, error

    def constant(self, index: Index, error: NoContrastError) -> PlaneRecord:
        """Record that all pixels of a plane have one value; returns the record."""
        note = f"{CONSTANT} ({error.value:g})"
        record = PlaneRecord(index=index, notes=(note,))
        self._records.append(record)
        self._constant = error
        return record

    def restored(
        self, result: Result, kernel: StackKernel, *, clipped: int, flags: tuple[Flag, ...] = ()
    ) -> PlaneRecord:
        """Add the result of a plane, and its kernel with `flags`; returns its record."""
        (index,) = kernel.indices
        record = PlaneRecord.of(index, result, clipped=clipped, shared=flags)
        self._records.append(record)
        if result.reason is StopReason.STOPPED:
            self._partial.append(record)
        self._add_kernel(kernel)
        if result.covered is not None:
            if self._covered is None:
                shape = (*map(len, self._job.selection), *result.covered.shape)
                self._covered = np.zeros(shape, dtype=bool)
            self._covered[self._job.position(index)] = result.covered
        if self._example is None or index < self._example[0]:
            small = np.empty((0, 0), dtype=np.float32)
            self._example = index, replace(result, image=small, support=small, covered=None)
        return record

    def result(self, array: NDArray[Any] | None, *, seconds: float, total: int) -> StackResult:
        """Return the result, `total` planes of which were to be restored.

        Raises
        ------
        BlindSRError
            If no plane could be restored: the error of the last one.
        """
        if self._example is None and self._failure is not None:
            raise self._failure[1]
        if self._example is None and self._constant is not None and not self._kept:
            raise self._constant
        example = None if self._example is None else self._example[1]
        job = self._job
        if array is None:
            array = np.empty((0,) * len(job.layout.axes), dtype=job.dtype)
        complete = len(self._records) == total and not self._partial
        return StackResult(
            image=array,
            axes=job.layout.axes,
            loop_axes=job.layout.loop_axes,
            selection=job.selection,
            region=job.options.region,
            kernels=tuple(sorted(self._kernels.values(), key=lambda kernel: kernel.indices[0])),
            covered=self._covered,
            records=tuple(sorted(self._records, key=lambda record: record.index)),
            kept=self._kept,
            earlier=tuple(sorted(self._earlier, key=lambda record: record.index)),
            offset=0.0 if example is None else example.offset,
            settings=job.settings,
            options=job.options,
            example=example,
            notes=self._notes(),
            seconds=seconds,
            reason=StopReason.COMPLETED if complete else StopReason.STOPPED,
        )

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if "Z" in self._job.layout.loop_axes:
            notes.append("each plane was restored by itself: along Z nothing was sharpened")
        for record in self._partial:
            name = " ".join(map(str, record.index)) or 0
            notes += [f"plane {name} is not complete: {note}" for note in record.notes]
        constant = sum(CONSTANT in " ".join(record.notes) for record in self._records)
        if constant:
            notes.append(
                "1 plane is constant, and so is its restoration"
                if constant == 1
                else f"{constant} planes are constant, and so are their restorations"
            )
        alone = sum(COLD_START in record.notes for record in self._records)
        if alone:
            notes.append(f"{alone} plane{'' if alone == 1 else 's'} {COLD_START}")
        clipped = sum(record.clipped for record in self._records)
        if clipped:
            were = "1 value was" if clipped == 1 else f"{clipped} values were"
            notes.append(f"{were} beyond the range of {self._job.dtype}: clipped")
        return tuple(notes)
