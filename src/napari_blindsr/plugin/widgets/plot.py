"""Plots in docks. It imports pyqtgraph, which takes a moment: only when one is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QSizePolicy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.metrics import Curve

# Okabe and Ito's colours, which the colour-blind tell apart, on dark and on light.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442")
HEIGHT = 270
LEAST_HEIGHT = 170
CURVE_HEIGHT = 240
"""Least height of a plot with room for four lines of the legend."""
HEADROOM = 0.16
"""Room above the curves for a line of the legend, in heights of the curves."""
AXIS_HEIGHT = 44
"""Room for the numbers and the label, in napari's font."""


class Plot(pyqtgraph.PlotWidget):  # type: ignore[misc] # it has no types
    """Curves with a legend above them, in the colours of the dock."""

    def __init__(self) -> None:
        # Without a colour of its own it has that of the dock, in any theme.
        super().__init__(background=None)
        self.setMinimumHeight(LEAST_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMenuEnabled(False)
        self.plotItem.setContentsMargins(0, 4, 8, 8)
        self.legend = self.addLegend(offset=(-5, 5), labelTextSize="8pt")
        self.showGrid(x=True, y=True, alpha=0.2)
        self.getAxis("left").enableAutoSIPrefix(False)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        self.getAxis("bottom").setHeight(AXIS_HEIGHT)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for little height; what is left over goes here."""
        return QSize(super().sizeHint().width(), HEIGHT)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """Take the colour of another theme; pyqtgraph keeps its background as an image."""
        super().changeEvent(event)
        if event is not None and event.type() in (
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        ):
            self.resetCachedContent()

    def span(self, bottom: float, top: float, *, entries: int) -> None:
        """Show this range of values, and above it so many entries of the legend."""
        self.setYRange(bottom, top + HEADROOM * entries * (top - bottom))


def colour_of(number: int) -> str:
    """Return the colour of a curve."""
    return COLOURS[number % len(COLOURS)]


class CurvePlot(Plot):
    """One plot: a curve for each line, thresholds dashed, and a mark at the value."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(CURVE_HEIGHT)
        self._drawn: Curve | None = None

    def show_curve(self, curve: Curve, mark: str = "") -> None:
        """Draw a curve, with a text at its mark if it has one."""
        logarithmic = curve.y_axis == "logarithmic"
        lines = [
            np.where(line.y > 0, line.y, np.nan) if logarithmic else line.y for line in curve.lines
        ]
        # To draw anew takes several times as long as new values do, which come during a run.
        if self._drawn is None or not _alike(self._drawn, curve):
            self._draw(curve, mark)
        for item, line, y in zip(self.plotItem.listDataItems(), curve.lines, lines, strict=True):
            item.setData(line.x, y)
        finite = np.concatenate([y[np.isfinite(y)] for y in lines])
        ends = _ends(np.log10(finite) if logarithmic else finite, curve.y_axis)
        self.span(*ends, entries=len(curve.lines))
        self.getAxis("left").setTicks(_ticks(*ends) if logarithmic else None)
        self._drawn = curve

    def _draw(self, curve: Curve, mark: str) -> None:
        """Make the axes, a line for each of a curve's, and its mark."""
        self.clear()
        self.setLogMode(False, curve.y_axis == "logarithmic")
        self.setLabel("bottom", curve.x_label)
        # Long labels have to fit the height of the plot; a size alone would turn them black.
        grey = pyqtgraph.mkColor(pyqtgraph.getConfigOption("foreground")).name()
        self.getAxis("left").setLabel(curve.y_label, **{"font-size": "8pt", "color": grey})
        text, number = self.palette().text().color(), 0
        for line in curve.lines:
            pen = pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DashLine)
            if not line.is_threshold:
                pen = pyqtgraph.mkPen(colour_of(number), width=2)
                number += 1
            self.plot(pen=pen, name=line.label)
        if curve.mark is not None:
            self.addItem(
                pyqtgraph.InfiniteLine(
                    curve.mark,
                    pen=pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DotLine),
                    label=mark,
                    labelOpts={"position": 0.06, "color": text},
                )
            )


MOST_TICKS = 6
"""Numbers beside a logarithmic axis that have room."""


def _ticks(low: float, high: float) -> list[list[tuple[float, str]]]:
    """Return the ticks of a logarithmic axis: 1, 2 and 5 times powers of ten, or those alone.

    pyqtgraph would put all nine numbers of a decade beside the axis, one over the other.
    """
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1,)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low <= math.log10(value) <= high]
        if len(inside) <= MOST_TICKS:
            break
    return [[(math.log10(value), f"{value:g}") for value in inside], []]


def _alike(before: Curve, curve: Curve) -> bool:
    """Tell whether two curves differ in the values of their lines alone."""
    kinds = [
        (
            shown.x_label,
            shown.y_label,
            shown.y_axis,
            [(x.label, x.is_threshold) for x in shown.lines],
        )
        for shown in (before, curve)
    ]
    return kinds[0] == kinds[1] and before.mark is None and curve.mark is None


LEAST_SPAN = 0.1
"""Least height of a plot in units of its axis, so that values that hardly differ look so."""


def _ends(values: NDArray[np.float64], axis: str) -> tuple[float, float]:
    """Return the range of an axis for these values; with logarithms for both."""
    if axis == "share":
        return min(values.min(initial=0), 0.0), min(values.max(initial=0), 1.05)
    if not values.size:
        return 0.0, 1.0
    missing = max(LEAST_SPAN - float(np.ptp(values)), 0.0)
    return float(values.min()) - missing / 2, float(values.max()) + missing / 2
