"""Progress reports of a run, the reason of its end, and how generators of reports are run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


Returned = TypeVar("Returned")
Report = TypeVar("Report")


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


class StopReason(str, Enum):
    """Why a run ended."""

    COMPLETED = "completed"
    CONVERGED = "converged"
    STOPPED = "stopped"
    DIVERGED = "diverged"

    def __str__(self) -> str:
        """Return the value, as `enum.StrEnum` does since Python 3.11."""
        return str(self.value)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A report of a running solver.

    Attributes
    ----------
    step : int
        Image steps done so far.
    total : int
        Image steps planned.
    stage : str
        Shown to the user.
    loss : float or None
        The latest loss that the host knows. On an accelerator it may be some steps old, since
        reading it must not make the device wait.
    seconds : float
        Time since the run began.
    remaining : float or None
        Seconds left at the pace of the image steps so far; None before there is a pace.
    unit : str
        What `step` counts: "step", "tile", "plane", or "part" of what precedes the steps.
    latest : Any
        The latest estimate of an optimisation, with tensors `image` and `kernel` that must not be
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


@dataclass(kw_only=True)
class ProgressCounter:
    """Counts parts of a run that are done, and predicts the time that the others take.

    Attributes
    ----------
    start : float
        When the run began.
    unit : str
        As in `Progress`.
    total, done : int
    began : float
        When the first part began.
    """

    start: float
    unit: str
    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.perf_counter)

    def progress(self, stage: str | None = None) -> Progress:
        """Return the report on the parts that are done."""
        now = time.perf_counter()
        pace = (now - self.began) / self.done if self.done else None
        return Progress(
            step=self.done,
            total=self.total,
            stage=f"{self.unit} {self.done} of {self.total}" if stage is None else stage,
            loss=None,
            seconds=now - self.start,
            remaining=None if pace is None else pace * (self.total - self.done),
            unit=self.unit,
        )
