"""How long the steps of a run take."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_blindsr.progress import Progress


@dataclass
class Pace:
    """Measures the steps of a run, without its pauses.

    Attributes
    ----------
    seconds : float or None
        Time of one image step; None before there are two of them.
    """

    seconds: float | None = None
    _unit: str = ""
    _first: tuple[int, float] = (0, 0.0)
    _last: int = 0
    _paused: float | None = None
    _corrects: bool = False

    def pause(self) -> None:
        """Stop the clock."""
        self._paused = time.perf_counter()

    def resume(self) -> None:
        """Let the clock go on."""
        if self._paused is not None:
            step, began = self._first
            self._first = step, began + time.perf_counter() - self._paused
            self._paused, self._corrects = None, True

    def corrected(self, report: Progress) -> Progress:
        """Take in a report, and return it with the time left as without pauses."""
        now, (first, began) = time.perf_counter(), self._first
        if report.unit != self._unit or report.step < self._last or first == 0:
            # The first step also compiles and allocates; it says nothing of the others.
            first, began = self._first = report.step, now
        self._unit, self._last = report.unit, report.step
        if report.step == first:
            return report
        pace = (now - began) / (report.step - first)
        if report.unit == "step":
            self.seconds = pace
        if report.remaining is None or not self._corrects:
            return report
        return replace(report, remaining=pace * (report.total - report.step))
