"""The lower part of the dock: values, curves, and what can be done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_blindsr._napari.measuring.run import Findings
from napari_blindsr._napari.measuring.table import ValueTable

if TYPE_CHECKING:
    from napari_blindsr._napari.measuring.curves import CurvePanel


class FindingsPanel(QWidget):
    """What was measured.

    Attributes
    ----------
    table : ValueTable
    curves : CurvePanel or None
        Made with the first curves.
    map_buttons : dict of str to QPushButton
        By the names of the maps, with the first findings.
    export_button : QPushButton
    map_asked : Signal
        Emitted with the name of a map that is to become a layer.
    export_asked : Signal
    """

    map_asked = Signal(str)
    export_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table, self.tabs = ValueTable(), QTabWidget()
        self.tabs.addTab(self.table, "Values")
        self.curves: CurvePanel | None = None
        self.map_buttons: dict[str, QPushButton] = {}
        self.export_button = QPushButton("Export CSV …")
        self.export_button.setToolTip(
            "Save the values with all digits, definitions, sources and caveats."
        )
        self.export_button.clicked.connect(self._ask_for_export)
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
        """Show what was measured; the size of the image's pixels is in nm."""
        self.table.show_measurements(findings.measurements)
        if self.curves is None:
            # It takes a moment to import, which a dock that is merely shown shall not.
            from napari_blindsr._napari.measuring.curves import CurvePanel  # noqa: PLC0415

            self.curves = CurvePanel()
            self.tabs.addTab(self.curves, "Curves")
        self.curves.show_plots(findings.plots, pixel_size=pixel_size)
        for button in self.map_buttons.values():
            button.setVisible(False)
        for found in findings.maps:
            button = self._map_button(found.kind.name, found.kind.label)
            button.setEnabled(found.map is not None)
            added = f"Add the {found.kind.label} as a layer, in its place."
            button.setToolTip(found.reason or added)
            button.setVisible(True)
        self.setVisible(True)

    def _ask_for_export(self, *_: object) -> None:
        self.export_asked.emit()

    def _map_button(self, name: str, label: str) -> QPushButton:
        if name not in self.map_buttons:
            button = QPushButton(f"Add {label}")
            button.clicked.connect(lambda: self.map_asked.emit(name))
            self._buttons.insertWidget(len(self.map_buttons), button)
            self.map_buttons[name] = button
        return self.map_buttons[name]
