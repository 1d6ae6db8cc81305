"""Executors, which restore the planes of a stack; here: in this process, one after another."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from napari_blindsr.errors import BlindSRError, ClusterError, OutOfMemoryError
from napari_blindsr.progress import Progress
from napari_blindsr.stacks.outputs import OutputError
from napari_blindsr.stacks.shared_kernel import WarmStarts, find_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import ProgressCounter
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.stacks.plan import StackProblem
    from napari_blindsr.stacks.restore_stack import StackRun
    from napari_blindsr.stacks.result import GroupKernel


Item = TypeVar("Item")
Returned = TypeVar("Returned")
Steps: TypeAlias = Generator[Progress, "bool | None", Returned]


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


class Executor(Protocol):
    """Restores planes; both generators return whether a stop was requested."""

    def kernels(self, run: StackRun, groups: Mapping[Index, Sequence[Index]]) -> Steps[bool]:
        """Estimate the kernel of each group of planes; groups without one are left out."""

    def planes(self, run: StackRun) -> Steps[bool]:
        """Restore the planes of a run, and deliver them."""

    def notes(self, problem: StackProblem) -> tuple[str, ...]:  # noqa: ARG002
        """Return notes on how the planes were restored."""
        return ()


class LocalExecutor(Executor):
    """Restores planes in this process, in their order."""

    def kernels(self, run: StackRun, groups: Mapping[Index, Sequence[Index]]) -> Steps[bool]:
        """Estimate the kernel of each group of planes."""

        def kernel(number: int, indices: Sequence[Index]) -> Steps[GroupKernel | None]:
            stage = f"estimating the blur, kernel {number} of {len(groups)}"
            yield replace(plane_report(run.counter), stage=stage)
            steps = find_shared(run.problem, indices)
            return (yield from uninterrupted(steps, partial(plane_report, run.counter)))

        return interleaved(
            [(group, kernel(n, groups[group])) for n, group in enumerate(groups, 1)],
            at_once=lambda: 1,
            ended=partial(keep, run.kernels),
            progress=partial(_first, run.counter),
        )

    def planes(self, run: StackRun) -> Steps[bool]:
        """Restore planes; the target receives the pixels as they are computed."""
        warm_starts = WarmStarts(run.problem, run.todo)

        def plane(index: Index) -> Steps[PlaneOutcome]:
            place, start = run.problem.place(run.target, index), warm_starts.start(index)
            steps = run.problem.run(index, run.kernel(index), target=place, start=start)
            result = yield from uninterrupted(steps, partial(plane_report, run.counter))
            return PlaneOutcome(index=index, result=result, clipped=place.clipped)

        return restore_planes(
            run, warm_starts, plane, at_once=lambda: 1, progress=partial(_first, run.counter)
        )


def _first(counter: ProgressCounter, reports: Sequence[Progress]) -> Progress:
    return reports[0] if reports else plane_report(counter)


def plane_report(counter: ProgressCounter, inner: Progress | None = None) -> Progress:
    """Return the progress of a run, and of the current plane."""
    stage = f"plane {min(counter.done + 1, counter.total)} of {counter.total}"
    if inner is None:
        return counter.progress(stage)
    return replace(counter.progress(f"{stage}: {inner.stage}"), loss=inner.loss)


def uninterrupted(
    steps: Steps[Returned], shown: Callable[[Progress], Progress] | None = None
) -> Steps[Returned]:
    """Run steps to their end, whether or not a stop is requested; `shown` changes the reports."""
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            result: Returned = end.value
            return result
        yield report if shown is None else shown(report)


def keep(
    found: dict[Item, Returned], item: Item, outcome: Returned | BlindSRError | None, _: object
) -> None:
    """Put a result into a dict, or raise the error."""
    if isinstance(outcome, BlindSRError):
        raise outcome
    if outcome is not None:
        found[item] = outcome


def restore_planes(
    run: StackRun,
    warm_starts: WarmStarts,
    plane: Callable[[Index], Steps[PlaneOutcome] | Steps[PlaneOutcome | None]],
    **options: Any,
) -> Steps[bool]:
    """Restore planes, each by steps of its own; `options` are those of `interleaved`."""

    def ended(index: Index, outcome: PlaneOutcome | BlindSRError | None, _: object) -> None:
        if isinstance(outcome, OutOfMemoryError | OutputError | ClusterError):
            raise outcome
        if isinstance(outcome, BlindSRError):
            outcome = PlaneOutcome(index=index, error=outcome)
        if outcome is not None:
            run.deliver(replace(outcome, result=warm_starts.end(index, outcome.result)))

    return interleaved(
        [(index, plane(index)) for index in warm_starts.order],
        ended=ended,
        allowed=warm_starts.is_next,
        **options,
    )


def interleaved(
    todo: Iterable[tuple[Item, Steps[Returned]]],
    *,
    at_once: Callable[[], int],
    ended: Callable[[Item, Returned | BlindSRError, Progress | None], None],
    progress: Callable[[Sequence[Progress]], Progress],
    patience: float = 0.0,
    allowed: Callable[[Item], bool] | None = None,
) -> Steps[bool]:
    """Run several generators by turns; returns whether to stop, which they are sent, too.

    `ended` is called with each item, its result or error, and its last report; `progress` with the
    last reports of those that are running. `allowed` says whether an item may begin; `patience` are
    the seconds between two rounds in which nothing ends.
    """
    waiting = list(todo)
    running: dict[Item, Steps[Returned]] = {}
    reports: dict[Item, Progress] = {}
    stop = False
    try:
        while running or (waiting and not stop):
            while waiting and not stop and len(running) < at_once():
                entry = next((e for e in waiting if allowed is None or allowed(e[0])), None)
                if entry is None:
                    break
                waiting.remove(entry)
                running[entry[0]] = entry[1]
            count = len(running)
            for item, steps in list(running.items()):
                outcome: Returned | BlindSRError
                try:
                    reports[item] = steps.send(stop if item in reports else None)
                    continue
                except StopIteration as end:
                    outcome = end.value
                except BlindSRError as error:
                    outcome = error
                del running[item]
                ended(item, outcome, reports.pop(item, None))
                stop = bool((yield progress(list(reports.values())))) or stop
            if len(running) == count:
                time.sleep(patience)
                stop = bool((yield progress(list(reports.values())))) or stop
        return stop
    finally:
        for steps in running.values():
            steps.close()
