"""The values: a row each, with all that a reader has to know in its tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_blindsr.measure import Measurement

COLUMNS = ("Quantity", "Value", "Physical")
LEAST_ROWS = 5
"""Rows that are in sight when the window is low."""
PADDING = 16
"""Around a text, in pixels across; half as much down."""
NARROWEST = 90
"""Width in pixels that is left to names."""


class ValueTable(QTableWidget):
    """Name, value with unit, and physical value of each measurement, or why there is none."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(list(COLUMNS))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        side, header = self.verticalHeader(), self.horizontalHeader()
        assert side is not None
        assert header is not None
        side.hide()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.setMinimumHeight((LEAST_ROWS + 1) * side.minimumSectionSize())

    def show_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Fill the table."""
        self.clearSpans()
        self.setRowCount(len(measurements))
        for row, found in enumerate(measurements):
            told, physical = value_text(found), ""
            if found.physical is not None:
                physical = f"{found.physical:.4g} nm"
            for column, text in enumerate((found.metric.label, told, physical)):
                item = QTableWidgetItem(text)
                item.setToolTip(found.metric.tooltip)
                self.setItem(row, column, item)
            if found.value is None:
                self.setSpan(row, 1, 1, len(COLUMNS) - 1)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Break the lines anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give values the width that they need, names the rest, and rows their lines.

        Qt's own way takes a reason, which has a sentence's length, for a wide value.
        """
        viewport = self.viewport()
        assert viewport is not None
        widths = [self._value_width(column) for column in range(1, len(COLUMNS))]
        first = max(viewport.width() - sum(widths), NARROWEST)
        for column, width in enumerate((first, *widths)):
            self.setColumnWidth(column, width)
        for row in range(self.rowCount()):
            spanned = self.columnSpan(row, 1) > 1
            height = self._height(row, 0, first)
            if spanned:
                height = max(height, self._height(row, 1, sum(widths)))
            self.setRowHeight(row, height)

    def _value_width(self, column: int) -> int:
        texts = [COLUMNS[column]]
        texts += [
            self._text(row, column)
            for row in range(self.rowCount())
            if self.columnSpan(row, 1) == 1
        ]
        return max(self.fontMetrics().horizontalAdvance(text) for text in texts) + PADDING

    def _height(self, row: int, column: int, width: int) -> int:
        room = QRect(0, 0, width - PADDING, 10_000)
        lines = self.fontMetrics().boundingRect(
            room, Qt.TextFlag.TextWordWrap, self._text(row, column)
        )
        return lines.height() + PADDING // 2

    def _text(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return "" if item is None else item.text()


def value_text(found: Measurement) -> str:
    """Return a value with its unit and an arrow to where it is better, or why there is none."""
    if found.value is None:
        return f"– {found.reason}"
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[found.metric.better]
    return f"{found.value:.4g} {found.metric.unit}".strip() + arrow
