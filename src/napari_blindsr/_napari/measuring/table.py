"""The values: a row each, with all that a reader has to know in its tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_blindsr.measure import Measurement

COLUMNS = ("Quantity", "Value", "Physical")
LEAST_ROWS = 5
"""Rows that are in sight when the window is low."""


class ValueTable(QTableWidget):
    """Name, value with unit, and physical value of each measurement, or why there is none."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(list(COLUMNS))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        side, header = self.verticalHeader(), self.horizontalHeader()
        assert side is not None
        assert header is not None
        side.hide()
        side.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setMinimumHeight((LEAST_ROWS + 1) * side.minimumSectionSize())

    def show_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Fill the table."""
        self.clearSpans()
        self.setRowCount(len(measurements))
        for row, found in enumerate(measurements):
            metric = found.metric
            self._put(row, 0, metric.label, metric.tooltip)
            if found.value is None:
                self._put(row, 1, f"– {found.reason}", metric.tooltip)
                self.setSpan(row, 1, 1, len(COLUMNS) - 1)
                continue
            self._put(row, 1, value_text(found), metric.tooltip)
            physical = "" if found.physical is None else f"{found.physical:.4g} nm"
            self._put(row, 2, physical, metric.tooltip)

    def _put(self, row: int, column: int, text: str, tooltip: str) -> None:
        item = QTableWidgetItem(text)
        item.setToolTip(tooltip)
        self.setItem(row, column, item)


def value_text(found: Measurement) -> str:
    """Return a value with its unit, and an arrow that says whether more is better."""
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[found.metric.better]
    return f"{found.value:.4g} {found.metric.unit}".strip() + arrow
