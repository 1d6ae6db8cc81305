"""The results of a measurement: values, curves, and buttons for maps and export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_blindsr.plugin.measure.case import Findings
from napari_blindsr.plugin.widgets.curves import CurvePanel

if TYPE_CHECKING:
    from napari_blindsr.metrics.measure import Measurement


class FindingsPanel(QWidget):
    """The results of a measurement: values, curves, and buttons for maps and export."""

    map_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.table, self.tabs = ValueTable(), QTabWidget()
        self.curves = CurvePanel()
        self.tabs.addTab(self.table, "Values")
        self.tabs.addTab(self.curves, "Curves")
        self.map_buttons: dict[str, QPushButton] = {}
        self.export_button = QPushButton("Export CSV …")
        self.export_button.setToolTip(
            "Save the values with all digits, definitions, sources and caveats."
        )
        # In the height of the tabs.
        self.export_button.setStyleSheet("padding: 1px 6px;")
        self.tabs.setCornerWidget(self.export_button)
        self._buttons = QHBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        layout.addLayout(self._buttons)
        self.setVisible(False)

    def show_findings(self, findings: Findings, *, pixel_size: float | None) -> None:
        """Show the results; the size of the image's pixels is in nm."""
        self.table.show_measurements(findings.measurements)
        curves = {plot.kind.label: plot.curve or plot.reason for plot in findings.plots}
        self.curves.show_curves(curves, pixel_size=pixel_size)
        for button in self.map_buttons.values():
            button.setVisible(False)
        for found in findings.maps:
            button = self._map_button(found.kind.name, found.kind.label)
            button.setEnabled(found.map is not None)
            added = f"Add the {found.kind.label} as a layer, in its place."
            button.setToolTip(found.reason or added)
            button.setVisible(True)
        self.setVisible(True)

    def _map_button(self, name: str, label: str) -> QPushButton:
        if name not in self.map_buttons:
            button = QPushButton(f"Add {label}")
            button.clicked.connect(lambda: self.map_asked.emit(name))
            self._buttons.insertWidget(len(self.map_buttons), button)
            self.map_buttons[name] = button
        return self.map_buttons[name]


COLUMNS = ("Score", "Value", "In nm")
LEAST_ROWS = 5
"""Rows in sight when the window is low."""
PADDING = 16
"""Around a text, in pixels across; half as much down."""
NARROWEST = 90
"""Width in pixels that is left to names."""


class ValueTable(QTableWidget):
    """Name, value with unit, and physical value of each score, or why there is none."""

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
            value, physical = value_text(found), ""
            if found.physical is not None:
                physical = f"{found.physical:.4g} nm"
            for column, text in enumerate((found.metric.label, value, physical)):
                item = QTableWidgetItem(text)
                item.setToolTip(found.metric.tooltip)
                self.setItem(row, column, item)
            if found.value is None:
                self.setSpan(row, 1, 1, len(COLUMNS) - 1)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Break the lines for the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give values the width that they need, names the rest, and rows the height of their lines.

        Qt would take a reason, as long as a sentence, for a wide value.
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
