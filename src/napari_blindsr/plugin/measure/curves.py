"""The curves behind the values: one at a time, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_blindsr.plugin.widgets.plot import Plot, colour_of

if TYPE_CHECKING:
    from napari_blindsr.metrics import Curve
    from napari_blindsr.metrics.measure import Plot as Found


LEAST_HEIGHT = 240


class CurvePlot(Plot):
    """One plot: a curve for each line, thresholds dashed, and a mark at the value."""

    def __init__(self) -> None:
        super().__init__()
        # Room for four lines of the legend.
        self.setMinimumHeight(LEAST_HEIGHT)

    def show_curve(self, curve: Curve, mark: str) -> None:
        """Draw a curve, with a text at its mark if it has one."""
        self.clear()
        self.setLabel("bottom", curve.x_label)
        # Long labels have to fit the height of the plot; a size alone would turn them black.
        grey = pyqtgraph.mkColor(pyqtgraph.getConfigOption("foreground")).name()
        self.getAxis("left").setLabel(curve.y_label, **{"font-size": "8pt", "color": grey})
        text, low, high, number = self.palette().text().color(), 0.0, 0.0, 0
        for line in curve.lines:
            pen = pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DashLine)
            if not line.is_threshold:
                pen = pyqtgraph.mkPen(colour_of(number), width=2)
                number += 1
            self.plot(line.x, line.y, pen=pen, name=line.label)
            finite = line.y[np.isfinite(line.y)]
            low, high = min(low, finite.min(initial=0)), max(high, finite.max(initial=0))
        if curve.mark is not None:
            self.addItem(
                pyqtgraph.InfiniteLine(
                    curve.mark,
                    pen=pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DotLine),
                    label=mark,
                    labelOpts={"position": 0.06, "color": text},
                )
            )
        self.span(low, min(high, 1.05), entries=len(curve.lines))


class CurvePanel(QWidget):
    """A list of the curves, and the chosen one, or why there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._found: Sequence[Found] = ()
        self._pixel_size: float | None = None
        self.choice, self.plot, self.reason = QComboBox(), CurvePlot(), QLabel()
        self.reason.setTextFormat(Qt.TextFormat.PlainText)
        self.reason.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (self.choice, self.reason, self.plot):
            layout.addWidget(widget)
        self.choice.currentIndexChanged.connect(self._show)

    def show_plots(self, found: Sequence[Found], *, pixel_size: float | None) -> None:
        """List these plots, and keep the chosen one if it is among them; a pixel in nm."""
        before = self.choice.currentText()
        self._found, self._pixel_size = found, pixel_size
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([plot.kind.label for plot in found])
        self.choice.setCurrentIndex(max(self.choice.findText(before), 0))
        self.choice.blockSignals(False)
        self._show()

    def _show(self, *_: object) -> None:
        index = self.choice.currentIndex()
        if not 0 <= index < len(self._found):
            return
        found = self._found[index]
        self.plot.setVisible(found.curve is not None)
        self.reason.setVisible(found.curve is None)
        self.reason.setText(found.reason)
        if found.curve is not None:
            self.plot.show_curve(found.curve, mark_text(found.curve, self._pixel_size))


def mark_text(curve: Curve, pixel_size: float | None) -> str:
    """Return the meaning of a mark: at a frequency, the resolution."""
    from napari_blindsr.metrics.curves import FREQUENCY  # noqa: PLC0415

    if curve.mark is None:
        return ""
    if curve.x_label != FREQUENCY:
        return f"{curve.mark:.4g}"
    pixels = f"{1 / curve.mark:.3g} px"
    return pixels if pixel_size is None else f"{pixels} = {pixel_size / curve.mark:.4g} nm"
