"""The course of an optimisation as curves: its losses, the change of its kernel, its PSNR."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.widgets.curves import CurvePanel, Shown
from napari_blindsr.plugin.widgets.texts import sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.methods import Schedule
    from napari_blindsr.metrics import Line
    from napari_blindsr.progress import Progress

POINTS = 100
"""About how many times in a run the kernel is compared with what it was."""
LOSS, CHANGE, PSNR = "Data loss", "Change of the kernel", "PSNR (dB)"
STEP = "Step"

Points = list[tuple[int, Any]]

_log = logging.getLogger(__name__)


class Course:
    """What the reports of an optimisation say, step by step; in the thread of a run.

    `truth` is the image that the run should give, if that is known.
    """

    def __init__(self, schedule: Schedule, truth: NDArray[Any] | None) -> None:
        # The kernel moves most in the first step after each Monte-Carlo step: whole rounds of steps
        # are compared.
        inner = schedule.inner_steps
        self.every = inner * max(1, round(schedule.image_steps / POINTS / inner))
        self._truth = truth
        self._losses: dict[str, Points] = {}
        self._changes: Points = []
        self._psnrs: Points = []
        self._kernel: Any = None

    def take(self, report: Progress) -> None:
        """Keep what a report of a step says; nothing waits for the device."""
        if report.step < 1:
            return
        if report.loss is not None:
            self._losses.setdefault(report.stage, []).append((report.step, report.loss))
        if report.step % self.every == 0:
            kernel = report.latest.kernel
            if self._kernel is not None:
                moved = (kernel - self._kernel).abs().sum() / 2
                self._changes.append((report.step, moved))
            self._kernel = kernel

    def compare(self, step: int, image: NDArray[Any]) -> None:
        """Compare the image of a step with the truth, as the dock "Measure quality" does."""
        if self._truth is None or step < 1:
            return
        # Not before now: this imports scipy, which takes a while.
        from napari_blindsr.metrics import METRICS, MetricInputs  # noqa: PLC0415

        metric = next(metric for metric in METRICS if metric.name == "psnr")
        try:
            inputs = MetricInputs(image=image, reference=self._truth, registers=False)
            self._psnrs.append((step, metric(inputs)))
        except InputError:
            # A truth that is constant, or has values that are not finite.
            self._truth = None

    def curves(self) -> dict[str, Shown]:
        """Return the curves by name, or why there is none; none of them before the first step."""
        # What is on an accelerator is read once.
        self._changes = [(step, float(value)) for step, value in self._changes]
        if not self._losses:
            return {}
        losses = [_line(sentence(stage), points) for stage, points in self._losses.items()]
        shown: dict[str, Shown] = {LOSS: _curve(LOSS, losses, "logarithmic")}
        shown[CHANGE] = f"The kernel is compared every {self.every} steps."
        if any(value > 0 for _, value in self._changes):
            label = f"share moved in {self.every} steps"
            shown[CHANGE] = _curve(CHANGE, [_line(label, self._changes)], "logarithmic")
        elif self._changes:
            shown[CHANGE] = "The kernel is known: it does not change."
        if self._psnrs:
            shown[PSNR] = _curve(PSNR, [_line("against the ground truth", self._psnrs)], "linear")
        return shown


def _line(label: str, points: Points) -> Line:
    from napari_blindsr.metrics import Line  # noqa: PLC0415

    x, y = np.array(points, dtype=float).T
    return Line(label=label, x=x, y=y)


def _curve(label: str, lines: list[Line], y_axis: Any) -> Shown:
    from napari_blindsr.metrics import Curve  # noqa: PLC0415

    return Curve(x_label=STEP, y_label=label, lines=tuple(lines), y_axis=y_axis)


class CoursePanel(QWidget):
    """The curves of the last run that had any; a click on its title folds them away."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Shown] = {}
        self.panel, self.toggle = CurvePanel(), QToolButton()
        self.toggle.setText("Curves")
        self.toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggle.setCheckable(True)
        self.toggle.setChecked(True)
        self.toggle.toggled.connect(self._fold)
        self.toggle.setToolTip(
            "How the optimisation goes, while it goes.\n"
            "Data loss: how far the blurred result is from your image; first 1 − SSIM, then the\n"
            "mean squared error.\n"
            "Change of the kernel: the share of its weight that moved.\n"
            "PSNR: against the ground truth, if one is chosen or known."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.toggle)
        layout.addWidget(self.panel)
        self._fold(True)
        self.hide()

    def show_curves(self, shown: dict[str, Shown]) -> None:
        """Show curves by name, or hide if there are none."""
        self._shown = shown
        self.setVisible(bool(shown))
        if not shown or not self.toggle.isChecked():
            return
        try:
            self.panel.show_curves(shown)
        except Exception:  # noqa: BLE001 - the run goes on without, and its result counts more
            _log.exception("The curves could not be drawn.")
            self.hide()

    def paint_now(self) -> None:
        """Paint the curves, if they are in sight, so that the caller can say how long it took."""
        plot = self.panel.plot
        if plot is not None and plot.isVisible():
            plot.viewport().repaint()

    def _fold(self, opened: bool) -> None:
        self.toggle.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.panel.setVisible(opened)
        if opened and self._shown:
            self.panel.show_curves(self._shown)
