"""Curves of profiles with their fits, and how wide their peaks are."""

from __future__ import annotations

import numpy as np
import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from napari_blindsr.plugin.compare.profiles import ProfileSet
from napari_blindsr.plugin.widgets.plot import Plot, colour_of

ROWS = 4
"""Rows of the table that are in sight."""


class ProfilePlot(Plot):
    """A curve for each layer, its fit dashed, over the distance along the line."""

    def show_profiles(self, shown: ProfileSet, *, scaled: bool) -> None:
        """Draw profiles, each scaled to its own range from 0 to 1 if asked."""
        self.clear()
        self.setLabel("bottom", f"Distance along the line ({shown.unit})")
        self.setLabel("left", "Intensity, scaled" if scaled else "Intensity")
        # In the colour of the text, as a good fit lies on its curve.
        text, ranges = self.palette().text().color(), []
        for number, profile in enumerate(shown.profiles):
            if not np.isfinite(profile.values).any():
                continue
            low, high = np.nanmin(profile.values), np.nanmax(profile.values)
            shift, factor = (low, 1 / (high - low)) if scaled and high > low else (0.0, 1.0)
            colour, distance = colour_of(number), shown.line.distance
            values = factor * (profile.values - shift)
            ranges.append((np.nanmin(values), np.nanmax(values)))
            self.plot(distance, values, pen=pyqtgraph.mkPen(colour, width=2), name=profile.name)
            if profile.peak is not None:
                fit = factor * (profile.peak.at(distance) - shift)
                pen = pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DashLine)
                self.plot(distance, fit, pen=pen)
        if ranges:
            bottom, top = min(low for low, _ in ranges), max(high for _, high in ranges)
            self.span(bottom, top, entries=len(ranges))


class PeakTable(QTableWidget):
    """The full width at half maximum of each layer's strongest peak."""

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        side, header = self.verticalHeader(), self.horizontalHeader()
        assert side is not None
        assert header is not None
        side.hide()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setFixedHeight((ROWS + 1) * side.minimumSectionSize())
        self.setToolTip(
            "Full width at half maximum of a Gaussian on a constant, fitted to the strongest\n"
            "peak or dip; where it is, along the line; and R², the share of the variance that\n"
            "the fit explains. Values between pixels are interpolated linearly. A narrow peak\n"
            "of a restored image shows sharpness; whether it is true, it does not show."
        )

    def show_profiles(self, shown: ProfileSet) -> None:
        """Fill the table."""
        unit = shown.unit
        self.setHorizontalHeaderLabels(["Layer", f"FWHM ({unit})", f"At ({unit})", "R²"])
        self.setRowCount(len(shown.profiles))
        for row, profile in enumerate(shown.profiles):
            peak = profile.peak
            texts = ["–"] * 3
            if peak is not None:
                texts = [f"{peak.fwhm:.4g}", f"{peak.center:.4g}", f"{peak.r_squared:.3f}"]
            for column, text in enumerate([profile.name, *texts]):
                item = QTableWidgetItem(text)
                item.setToolTip(profile.trouble or self.toolTip())
                if column == 0:
                    item.setForeground(QColor(colour_of(row)))
                self.setItem(row, column, item)
