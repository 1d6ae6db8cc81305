"""Layers beside each other, moved and zoomed together."""

from __future__ import annotations

from napari_blindsr._napari.comparing.mode import Mode
from napari_blindsr._napari.comparing.state import same_region, set_grid

ROW = 3
"""Most layers that stand in one row."""


class SideBySide(Mode):
    """One cell of napari's grid for each layer; one camera serves them all."""

    name = "side by side"
    label = "Side by side"

    def enter(self) -> None:
        """Show each layer in a cell, from left to right in the order of the layer list."""
        shape = (1, -1) if len(self.layers) <= ROW else (-1, -1)
        self.without_grid()
        # Whatever is visible takes a cell, drawings included.
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
