"""A list of the image layers, of which two or more are ticked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from napari.components import LayerList
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_blindsr.plugin.compare.difference import KIND
from napari_blindsr.plugin.layers.outputs import record_of

ROWS = 5
"""Layers in sight; more are scrolled."""


class LayerPicker(QListWidget):
    """Image layers with a check box each, in the order of the layer list.

    `changed` is emitted when the checked layers change.
    """

    changed = Signal()

    def __init__(self, layers: LayerList) -> None:
        super().__init__()
        self._layers = layers
        self._rows: list[Image] = []
        self._chosen: list[Image] = []
        self.setToolTip(
            "The layers that are compared: two or more, from left to right and in turn as they\n"
            "stand in the layer list from bottom to top."
        )
        self.itemChanged.connect(self._on_item)
        self.refresh()

    def chosen(self) -> list[Image]:
        """Return the checked layers, in the order of the layer list."""
        return [layer for layer in self._rows if layer in self._chosen]

    def choose(self, layers: Iterable[Image]) -> None:
        """Check these layers, and no others."""
        wanted = list(layers)
        self._take([layer for layer in self._rows if layer in wanted])

    def refresh(self) -> None:
        """Update the list; checked layers stay checked, new ones are unchecked."""
        self._rows = [layer for layer in self._layers if is_picture(layer)]
        before = self._chosen
        self.blockSignals(True)
        self.clear()
        # As in the layer list, the topmost comes first.
        for layer in reversed(self._rows):
            item = QListWidgetItem(layer.name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(_check(layer in before))
            self.addItem(item)
        self.blockSignals(False)
        height = self.sizeHintForRow(0) if self._rows else 20
        self.setFixedHeight(height * min(max(len(self._rows), 2), ROWS) + 8)
        self._chosen = self.chosen()
        if self._chosen != before:
            self.changed.emit()

    def _take(self, layers: list[Image]) -> None:
        if layers == self._chosen:
            return
        self._chosen = layers
        self.blockSignals(True)
        for item, layer in self._items():
            item.setCheckState(_check(layer in layers))
        self.blockSignals(False)
        self.changed.emit()

    def _on_item(self, *_: object) -> None:
        ticked = [
            layer for item, layer in self._items() if item.checkState() == Qt.CheckState.Checked
        ]
        self._take([layer for layer in self._rows if layer in ticked])

    def _items(self) -> Iterator[tuple[QListWidgetItem, Image]]:
        for number, layer in enumerate(reversed(self._rows)):
            item = self.item(number)
            assert item is not None
            yield item, layer


def _check(ticked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked


def is_picture(layer: Layer) -> bool:
    """Tell whether a layer is an image, but no difference of two others."""
    return isinstance(layer, Image) and record_of(layer).get("kind") != KIND


def suggested(layers: LayerList) -> list[Image]:
    """Return the layers that are probably meant.

    These are the selected ones if there are two or more, else the visible ones that cover most of
    the active one, or of the topmost if none is active.
    """
    selected = [layer for layer in layers if isinstance(layer, Image) and layer in layers.selection]
    if len(selected) > 1:
        return selected
    visible = [layer for layer in layers if isinstance(layer, Image) and layer.visible]
    active = layers.selection.active
    main = active if active in visible else (visible[-1] if visible else None)
    return [layer for layer in visible if main is not None and _covers(layer, main)]


def _covers(layer: Image, main: Image) -> bool:
    """Tell whether a layer shows most of what another one does, by their bounding boxes."""
    own, other = layer.extent.world[:, -2:], main.extent.world[:, -2:]
    low, high = own.min(axis=0), own.max(axis=0)
    start, end = other.min(axis=0), other.max(axis=0)
    common = (high.clip(start, end) - low.clip(start, end)).prod()
    return bool(common > 0.5 * (end - start).prod())
