"""The list of modes, and two of them: blinking, and side by side."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.compare.curtain import Curtain
from napari_blindsr.plugin.compare.difference import Difference
from napari_blindsr.plugin.compare.mode import Mode, ModeOptions, same_region, set_grid, show
from napari_blindsr.plugin.layers.versions import has_cells


class Blink(Mode):
    """Shows one layer at a time, at a chosen rate."""

    name = "blink"
    label = "Blink"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shown = 0
        self._timer = QTimer()
        self._timer.timeout.connect(self.advance)

    def enter(self) -> None:
        """Show the first layer, and start."""
        self.without_grid()
        self.only(visible=False)
        show(self.layers[0], visible=True)
        self.set_options(self.options)

    def set_options(self, options: ModeOptions) -> None:
        """Take another rate."""
        super().set_options(options)
        self._timer.start(round(1000 / options.rate))

    def leave(self) -> None:
        """Stop."""
        self._timer.stop()

    def text(self) -> str:
        """Return which layer is on display."""
        return f"On display: {self.layers[self.shown].name}"

    def advance(self) -> None:
        """Show the next layer."""
        before, self.shown = self.layers[self.shown], (self.shown + 1) % len(self.layers)
        # The next one first, so that no frame is empty.
        show(self.layers[self.shown], visible=True)
        show(before, visible=False)
        self.changed.emit()


class SideBySide(Mode):
    """One cell of napari's grid for each layer; one camera serves them all."""

    name = "side by side"
    label = "Side by side"

    def enter(self) -> None:
        """Show each layer in a cell, from left to right in the order of the layer list."""
        if not has_cells(self.viewer):
            raise InputError("side by side needs napari 0.6 or later; the other modes do not")
        shape = (1, -1) if len(self.layers) <= ROW else (-1, -1)
        self.without_grid()
        # All visible layers take a cell, drawings included.
        self.only(drawings=False)
        with same_region(self.viewer, self.layers):
            set_grid(self.viewer, enabled=True, stride=1, shape=shape)

    def leave(self) -> None:
        """Show all layers in one place."""
        # One of the layers may have gone, and its cell with it.
        with same_region(self.viewer, self.layers):
            set_grid(self.viewer, enabled=False)

    def text(self) -> str:
        """Return which layer is where."""
        return "From left to right: " + ", ".join(layer.name for layer in self.layers)


MODES: tuple[type[Mode], ...] = (SideBySide, Blink, Curtain, Difference)


def mode_named(name: str) -> type[Mode]:
    """Return the mode of a name."""
    return next(mode for mode in MODES if mode.name == name)


ROW = 3
"""Most layers that stand in one row."""
