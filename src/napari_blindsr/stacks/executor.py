"""Executors, which restore the planes of a stack; here: in this process, one after another."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from napari_blindsr.errors import BlindSRError, OutOfMemoryError
from napari_blindsr.progress import Progress
from napari_blindsr.stacks.outputs import OutputError
from napari_blindsr.stacks.shared_kernel import find_shared
from napari_blindsr.stacks.warm_start import WarmStarts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.stacks.outputs import StackTarget
    from napari_blindsr.stacks.plan import StackJob
    from napari_blindsr.stacks.result import GroupKernel


Item = TypeVar("Item")
Returned = TypeVar("Returned")


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaneOutcome:
    """The result of one plane without its pixels, or the error.

    `pixels` has the plane in the type and axes of the result, unless the target already has it;
    `clipped` is the number of values clipped to the range of that type.
    """

    index: Index
    result: Result | None = None
    error: BlindSRError | None = None
    clipped: int = 0
    pixels: NDArray[Any] | None = None


@dataclass(kw_only=True)
class Clock:
    """Counts the planes that are done, and the time since the start."""

    start: float
    total: int
    done: int = 0
    began: float = field(default_factory=time.perf_counter)

    def progress(self, inner: Progress | None = None) -> Progress:
        """Return the progress of the run, and of the current plane."""
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


class Executor(Protocol):
    """Restores planes.

    Both generators yield `Progress` and return whether a stop was requested.
    """

    def kernels(
        self,
        job: StackJob,
        groups: Mapping[Index, Sequence[Index]],
        clock: Clock,
        estimated: dict[Index, GroupKernel],
    ) -> Generator[Progress, bool | None, bool]:
        """Estimate the kernel of each group of planes; groups without one are left out."""

    def planes(
        self,
        job: StackJob,
        todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]],
        target: StackTarget,
        clock: Clock,
        deliver: Callable[[PlaneOutcome], None],
    ) -> Generator[Progress, bool | None, bool]:
        """Restore planes, each with a given kernel or an estimated one."""

    def notes(self, job: StackJob) -> tuple[str, ...]:
        """Return notes on how the planes were restored."""


class LocalExecutor:
    """Restores planes in this process, in their order."""

    def kernels(
        self,
        job: StackJob,
        groups: Mapping[Index, Sequence[Index]],
        clock: Clock,
        estimated: dict[Index, GroupKernel],
    ) -> Generator[Progress, bool | None, bool]:
        """Estimate the kernel of each group of planes."""
        stop = False
        for number, (group, indices) in enumerate(groups.items()):
            if stop:
                break
            stage = f"estimating the blur, kernel {number + 1} of {len(groups)}"
            stop = bool((yield replace(clock.progress(), stage=stage)))
            shared, asked = yield from _watched(find_shared(job, indices), clock)
            stop = stop or asked
            if shared is not None:
                estimated[group] = shared
        return stop

    def planes(
        self,
        job: StackJob,
        todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]],
        target: StackTarget,
        clock: Clock,
        deliver: Callable[[PlaneOutcome], None],
    ) -> Generator[Progress, bool | None, bool]:
        """Restore planes; the target receives the pixels as they are computed."""
        stop = False
        kernels = dict(todo)
        warm_starts = WarmStarts(job, kernels)
        for index in warm_starts.order:
            if stop:
                break
            place = job.place(target, index)
            run = job.run(index, kernels[index], target=place, start=warm_starts.start(index))
            try:
                result, stop = yield from _watched(run, clock)
            except (OutOfMemoryError, OutputError):
                raise
            except BlindSRError as error:
                warm_starts.end(index, None)
                deliver(PlaneOutcome(index=index, error=error))
            else:
                kept = warm_starts.end(index, result)
                deliver(PlaneOutcome(index=index, result=kept, clipped=place.clipped))
            stop = bool((yield clock.progress())) or stop
        return stop

    def notes(self, job: StackJob) -> tuple[str, ...]:  # noqa: ARG002 - this process is not news
        """Return no notes."""
        return ()


def _watched(
    run: Generator[Progress, bool | None, Returned], clock: Clock
) -> Generator[Progress, bool | None, tuple[Returned, bool]]:
    """Run a generator to its end; a stop request takes effect afterwards."""
    stop = False
    while True:
        try:
            inner = next(run)
        except StopIteration as end:
            result: Returned = end.value
            return result, stop
        stop = bool((yield clock.progress(inner))) or stop


@dataclass(eq=False)
class _Running(Generic[Item, Returned]):
    """A generator that is run by turns with others, and its last report."""

    item: Item
    steps: Generator[Progress, bool | None, Returned]
    report: Progress | None = None


def interleaved(
    todo: Iterable[tuple[Item, Generator[Progress, bool | None, Returned]]],
    *,
    at_once: Callable[[], int],
    ended: Callable[[Item, Returned | BlindSRError, Progress | None], None],
    progress: Callable[[Sequence[Progress]], Progress],
    patience: float,
) -> Generator[Progress, bool | None, bool]:
    """Run several generators by turns, every `patience` seconds; returns whether to stop.

    `ended` is called with each item, its result or error, and its last report; `progress` with the
    last reports of those that are running.
    """
    waiting = deque(todo)
    running: list[_Running[Item, Returned]] = []
    stop = False
    try:
        while running or (waiting and not stop):
            while waiting and not stop and len(running) < at_once():
                running.append(_Running(*waiting.popleft()))
            for entry in list(running):
                try:
                    entry.report = entry.steps.send(None if entry.report is None else stop)
                except StopIteration as end:
                    running.remove(entry)
                    ended(entry.item, end.value, entry.report)
                except BlindSRError as error:
                    running.remove(entry)
                    ended(entry.item, error, entry.report)
            time.sleep(patience)
            reports = [entry.report for entry in running if entry.report is not None]
            stop = bool((yield progress(reports))) or stop
        return stop
    finally:
        for entry in running:
            entry.steps.close()
