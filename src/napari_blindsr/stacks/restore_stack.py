"""Restores stacks plane by plane, with shared kernels, and collects the records of the planes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import NoContrastError
from napari_blindsr.progress import ProgressCounter, StopReason, drained
from napari_blindsr.restoration.evidence import blur_flags
from napari_blindsr.stacks.executor import Executor, LocalExecutor
from napari_blindsr.stacks.outputs import ArrayTarget, empty_array
from napari_blindsr.stacks.plan import StackProblem, prepare_stack
from napari_blindsr.stacks.result import GroupKernel, PlaneRecord, StackKernel, StackResult
from napari_blindsr.stacks.shared_kernel import COLD_START, kalman_smoothed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.images.metadata import LazyArray
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.executor import PlaneOutcome
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

    Examples
    --------
    >>> import numpy as np
    >>> from napari_blindsr import Settings, restore_stack
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> image = fluorescence().image
    >>> result = restore_stack(np.stack([image, image]), Settings(scale=2), axes="TYX")
    >>> result.image.shape, [record.index for record in result.records]
    ((2, 128, 128), [(0,), (1,)])
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

    Examples
    --------
    >>> import numpy as np
    >>> from napari_blindsr import Settings, iterate_stack
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> image = fluorescence().image
    >>> run = iterate_stack(np.stack([image, image]), Settings(scale=2), axes="TYX")
    >>> max(report.total for report in run)
    2
    """
    problem = prepare_stack(
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
    return (yield from run_stack(problem, target=target, executor=executor))


def run_stack(
    problem: StackProblem, *, target: StackTarget | None = None, executor: Executor | None = None
) -> Generator[Progress, bool | None, StackResult]:
    """Restore a checked stack, by default in this process: yields `Progress`."""
    executor = LocalExecutor() if executor is None else executor
    array: NDArray[Any] | None = None
    if target is None:
        array = empty_array(problem.result.shape, problem.dtype)
        target = ArrayTarget(array)
    run = StackRun(problem, target)
    stop = False
    if problem.known is not None:
        run.kernels = dict.fromkeys(map(problem.group, run.todo), GroupKernel(kernel=problem.known))
    elif problem.options.kernels != "plane" or (problem.filters_kernels and run.todo):
        # Planes that are already complete count as neighbours, too.
        groups = _groups(problem, problem.indices if problem.filters_kernels else run.todo)
        if not problem.filters_kernels:
            # A plane that shares with none is restored as a single image is.
            groups = {group: planes for group, planes in groups.items() if len(planes) > 1}
        stop = yield from executor.kernels(run, groups)
        if problem.filters_kernels and not stop:
            run.kernels.update(kalman_smoothed(problem, run.kernels))
    if not stop:
        yield from executor.planes(run)
    result = run.result(array)
    return replace(result, notes=(*result.notes, *executor.notes(problem)))


def _groups(problem: StackProblem, todo: Sequence[Index]) -> dict[Index, list[Index]]:
    """Return which planes share a kernel, for all kernels that are needed.

    Complete planes count, too, so that a resumed run estimates the same kernels.
    """
    needed = set(map(problem.group, todo))
    groups: dict[Index, list[Index]] = {}
    for index in problem.indices:
        if problem.group(index) in needed:
            groups.setdefault(problem.group(index), []).append(index)
    return groups


CONSTANT = "the plane is constant, and so is its restoration"


class StackRun:
    """A stack that is being restored: kernels, planes, and their records.

    `todo` has the planes that no earlier run has completed, and `counter` counts them; `kernels`
    has those that are known or estimated, by `StackProblem.group`.
    """

    def __init__(self, problem: StackProblem, target: StackTarget) -> None:
        self.problem, self.target = problem, target
        start = time.perf_counter()
        self.todo = [i for i in problem.indices if not target.finished(problem.position(i))]
        self.counter = ProgressCounter(start=start, unit="plane", total=len(self.todo))
        self.kernels: dict[Index, GroupKernel] = {}
        self._records: list[PlaneRecord] = []
        self._earlier: list[PlaneRecord] = []
        self._used: dict[Index, StackKernel] = {}
        self._covered: NDArray[np.bool_] | None = None
        self._example: tuple[Index, Result] | None = None
        self._failure: tuple[Index, BlindSRError] | None = None
        self._constant: NoContrastError | None = None
        self._partial: list[PlaneRecord] = []
        for record, kernel in target.kept():
            self._earlier.append(record)
            if kernel is not None:
                self._add_kernel(kernel)

    def kernel(self, index: Index) -> NDArray[Any] | KernelField | None:
        """Return the kernel that a plane is restored with; None is to be estimated."""
        shared = self.kernels.get(self.problem.group(index))
        return None if shared is None else shared.kernel

    def deliver(self, outcome: PlaneOutcome) -> None:
        """Record a plane, write what the target does not have yet, and count it if complete."""
        index, result = outcome.index, outcome.result
        place, position = self.problem.place(self.target, index), self.problem.position(index)
        stopped = result is not None and result.reason is StopReason.STOPPED
        self.counter.done += not stopped
        if isinstance(outcome.error, NoContrastError):
            # Whatever the blur, it leaves a constant plane unchanged.
            place.fill(outcome.error.value)
            record = PlaneRecord(index=index, notes=(f"{CONSTANT} ({outcome.error.value:g})",))
            self._records.append(record)
            self._constant = outcome.error
            self.target.note(position, record)
        elif result is None:
            assert outcome.error is not None
            place.fill()
            self._records.append(PlaneRecord(index=index, error=str(outcome.error)))
            if self._failure is None or index > self._failure[0]:
                self._failure = index, outcome.error
        else:
            if outcome.pixels is not None:
                place.put(outcome.pixels)
            self._restored(index, result, clipped=outcome.clipped)

    def _restored(self, index: Index, result: Result, *, clipped: int) -> None:
        """Record the result of a plane, and its kernel."""
        shared = self.kernels.get(self.problem.group(index))
        kernel = StackKernel(
            kernel=result.kernel,
            center=result.kernel_center[0],
            indices=(index,),
            blur=result.blur if shared is None else shared.blur,
            field=result.field,
        )
        # A plane that was given its kernel does not know how sure that is.
        estimated = kernel.blur if result.blur is None else None
        flags = () if estimated is None else blur_flags(kernel.kernel, estimated)
        record = PlaneRecord.of(index, result, clipped=clipped, shared=flags)
        position = self.problem.position(index)
        self._records.append(record)
        self._add_kernel(kernel)
        if result.covered is not None:
            if self._covered is None:
                shape = (*map(len, self.problem.selection), *result.covered.shape)
                self._covered = np.zeros(shape, dtype=bool)
            self._covered[position] = result.covered
        if self._example is None or index < self._example[0]:
            small = np.empty((0, 0), dtype=np.float32)
            self._example = index, replace(result, image=small, support=small, covered=None)
        if result.reason is StopReason.STOPPED:
            # Some tiles are missing: the plane is incomplete.
            self._partial.append(record)
        else:
            self.target.note(position, record, kernel if result.field is None else None)

    def _add_kernel(self, kernel: StackKernel) -> None:
        """Add the kernel of one plane; a group of planes keeps that of its first plane."""
        (index,) = kernel.indices
        group = self.problem.group(index)
        before = self._used.get(group, kernel)
        first = kernel if index < before.indices[0] else before
        indices = tuple(sorted({index, *before.indices}))
        self._used[group] = replace(first, indices=indices)

    def result(self, array: NDArray[Any] | None) -> StackResult:
        """Return the result of the run.

        Raises
        ------
        BlindSRError
            If no plane could be restored: the error of the last one.
        """
        problem, kept = self.problem, len(self.problem.indices) - len(self.todo)
        if self._example is None and self._failure is not None:
            raise self._failure[1]
        if self._example is None and self._constant is not None and not kept:
            raise self._constant
        example = None if self._example is None else self._example[1]
        if array is None:
            array = np.empty((0,) * len(problem.layout.axes), dtype=problem.dtype)
        complete = len(self._records) == len(self.todo) and not self._partial
        return StackResult(
            image=array,
            axes=problem.layout.axes,
            loop_axes=problem.layout.loop_axes,
            selection=problem.selection,
            region=problem.options.region,
            kernels=tuple(sorted(self._used.values(), key=lambda kernel: kernel.indices[0])),
            covered=self._covered,
            records=tuple(sorted(self._records, key=lambda record: record.index)),
            kept=kept,
            earlier=tuple(sorted(self._earlier, key=lambda record: record.index)),
            offset=0.0 if example is None else example.offset,
            settings=problem.settings,
            options=problem.options,
            example=example,
            notes=self._notes(),
            seconds=time.perf_counter() - self.counter.start,
            reason=StopReason.COMPLETED if complete else StopReason.STOPPED,
        )

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if "Z" in self.problem.layout.loop_axes:
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
            notes.append(f"{were} beyond the range of {self.problem.dtype}: clipped")
        return tuple(notes)
