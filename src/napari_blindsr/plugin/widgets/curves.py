"""Curves in a dock: one at a time, chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_blindsr.errors import needs

if TYPE_CHECKING:
    from napari_blindsr.metrics import Curve
    from napari_blindsr.plugin.widgets.plot import CurvePlot

Shown: TypeAlias = "Curve | str"
"""A curve, or why there is none."""


class CurvePanel(QWidget):
    """A list of the curves, and the chosen one, or why there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Mapping[str, Shown] = {}
        self._pixel_size: float | None = None
        self.choice, self.reason = QComboBox(), QLabel()
        self.plot: CurvePlot | None = None
        self.reason.setTextFormat(Qt.TextFormat.PlainText)
        self.reason.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (self.choice, self.reason):
            layout.addWidget(widget)
        self.choice.currentIndexChanged.connect(self._show)

    def show_curves(self, shown: Mapping[str, Shown], *, pixel_size: float | None = None) -> None:
        """List these by name, and keep the chosen one if it is among them; a pixel in nm."""
        before, names = self.choice.currentText(), list(shown)
        listed = [self.choice.itemText(index) for index in range(self.choice.count())]
        self._shown, self._pixel_size = shown, pixel_size
        # An open list stays open while its curves change.
        if names != listed:
            self.choice.blockSignals(True)
            self.choice.clear()
            self.choice.addItems(names)
            self.choice.setCurrentIndex(max(self.choice.findText(before), 0))
            self.choice.blockSignals(False)
        self._show()

    def _show(self, *_: object) -> None:
        found = self._shown.get(self.choice.currentText())
        if found is None:
            return
        if not isinstance(found, str) and self.plot is None:
            found = self._make_plot() or found
        self.reason.setVisible(isinstance(found, str))
        if self.plot is not None:
            self.plot.setVisible(not isinstance(found, str))
        if isinstance(found, str):
            self.reason.setText(found)
        elif self.plot is not None:
            self.plot.show_curve(found, mark_text(found, self._pixel_size))

    def _make_plot(self) -> str:
        """Add the plot; return what is missing on this machine, if anything is."""
        try:
            # It takes a moment to import, which a dock that is merely shown shall not.
            from napari_blindsr.plugin.widgets.plot import CurvePlot  # noqa: PLC0415
        except ModuleNotFoundError:
            return needs("A plot", "plots")
        self.plot = CurvePlot()
        layout = self.layout()
        assert layout is not None
        layout.addWidget(self.plot)
        return ""


def mark_text(curve: Curve, pixel_size: float | None) -> str:
    """Return the meaning of a mark: at a frequency, the resolution."""
    from napari_blindsr.metrics.curves import FREQUENCY  # noqa: PLC0415

    if curve.mark is None:
        return ""
    if curve.x_label != FREQUENCY:
        return f"{curve.mark:.4g}"
    pixels = f"{1 / curve.mark:.3g} px"
    return pixels if pixel_size is None else f"{pixels} = {pixel_size / curve.mark:.4g} nm"
