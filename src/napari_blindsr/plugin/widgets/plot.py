"""Plots in docks. It imports pyqtgraph, which takes a moment: only when one is needed."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QSizePolicy

# Okabe and Ito's colours, which the colour-blind tell apart, on dark and on light.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442")
HEIGHT = 270
LEAST_HEIGHT = 170
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

    def span(self, bottom: float, top: float, *, entries: int) -> None:
        """Show this range of values, and above it so many entries of the legend."""
        self.setYRange(bottom, top + HEADROOM * entries * (top - bottom))


def colour_of(number: int) -> str:
    """Return the colour of a curve."""
    return COLOURS[number % len(COLOURS)]
