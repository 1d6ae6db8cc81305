"""Progress reports, reasons why a run ended, and generators that report and can be stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


Returned = TypeVar("Returned")
Report = TypeVar("Report")

REFINING = "refining the blur"
"""The stage in which the blur estimate is refined."""


def drained(
    steps: Generator[Report, bool | None, Returned],
    progress: Callable[[Report], bool | None] | None = None,
) -> Returned:
    """Run steps to the end, call `progress` with each report, and return the result.

    A true return value of `progress` is sent to the steps, which then stop as soon as they can.
    """
    stop: bool | None = None
    while True:
        try:
            report = steps.send(stop)
        except StopIteration as end:
            result: Returned = end.value
            return result
        stop = None if progress is None else bool(progress(report))


def reported(
    steps: Generator[Done, bool | None, Returned], *, stage: str, start: float
) -> Generator[Progress, bool | None, tuple[Returned, bool]]:
    """Run a generator, report its progress, and return its result and whether it was stopped."""
    began = time.perf_counter()
    stop: bool | None = None
    stopped = False
    while True:
        try:
            done, total = steps.send(stop)
        except StopIteration as end:
            result: Returned = end.value
            return result, stopped
        now = time.perf_counter()
        stop = yield Progress(
            step=done,
            total=total,
            stage=stage,
            loss=None,
            seconds=now - start,
            remaining=(now - began) / done * (total - done),
            unit="part",
        )
        stopped = stopped or bool(stop)


def one_of(
    steps: Generator[Done, bool | None, Returned], number: int, count: int
) -> Generator[Done, bool | None, Returned]:
    """Run one of several equal tasks, and yield the progress over all of them."""
    stop: bool | None = None
    while True:
        try:
            done, total = steps.send(stop)
        except StopIteration as end:
            result: Returned = end.value
            return result
        stop = yield number * total + done, count * total


class StopReason(str, Enum):
    """Why a run ended."""

    COMPLETED = "completed"
    CONVERGED = "converged"
    STOPPED = "stopped"
    DIVERGED = "diverged"

    def __str__(self) -> str:
        """Return the word itself, as `enum.StrEnum` does since Python 3.11."""
        return str(self.value)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report of a running solver.

    Attributes
    ----------
    step : int
        Image steps done so far.
    total : int
        Image steps planned.
    stage : str
        The current activity, in words a user can read.
    loss : float or None
        The latest loss known on the host. On an accelerator it may lag some steps
        behind, since fetching it must not make the device wait.
    seconds : float
        Time since the run began.
    remaining : float or None
        Seconds left at the pace of the image steps so far; None before there is a pace.
    unit : str
        What `step` and `total` count: "step", "tile", "plane", or "part" (of the work before the
        first step).
    latest : Any
        The latest estimate of an optimisation, with tensors `image` and `kernel` that are not to be
        changed; None if there is none.
    """

    step: int
    total: int
    stage: str
    loss: float | None
    seconds: float
    remaining: float | None
    unit: str = "step"
    latest: Any = field(default=None, compare=False, repr=False)


Done: TypeAlias = tuple[int, int]
"""How many parts of a task are done, and how many there are."""
