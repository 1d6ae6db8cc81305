"""How a viewer was before a comparison, to give it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewerState:
    """Which layers are visible and selected, and how the grid is set.

    Attributes
    ----------
    visible : dict of Layer to bool
        Layers that come later may be added.
    selected : frozenset of Layer
    active : Layer or None
    grid : dict of str to Any
    """

    visible: dict[Layer, bool]
    selected: frozenset[Layer]
    active: Layer | None
    grid: dict[str, Any]

    @classmethod
    def of(cls, viewer: ViewerModel) -> Self:
        """Return the state of a viewer."""
        grid = viewer.canvas.grid
        selection = viewer.layers.selection
        return cls(
            visible={layer: layer.visible for layer in viewer.layers},
            selected=frozenset(selection),
            active=selection.active,
            grid={name: getattr(grid, name) for name in ("enabled", "stride", "shape", "spacing")},
        )

    def restore(self, viewer: ViewerModel) -> None:
        """Give a viewer this state back; layers that are gone are left alone."""
        self.restore_visible(viewer)
        with same_region(viewer):
            set_grid(viewer, **self.grid)
        viewer.layers.selection = [layer for layer in viewer.layers if layer in self.selected]
        if self.active in viewer.layers:
            viewer.layers.selection.active = self.active

    def restore_visible(self, viewer: ViewerModel) -> None:
        """Show and hide layers as they were."""
        for layer, visible in self.visible.items():
            if layer in viewer.layers:
                show(layer, visible=visible)


def show(layer: Layer, *, visible: bool) -> None:
    """Show or hide a layer, unless it is so already: showing one reads its data anew."""
    if layer.visible != visible:
        layer.visible = visible


def set_grid(viewer: ViewerModel, **attributes: Any) -> None:
    """Set the grid; what is so already is not touched, as napari lays it out anew."""
    grid = viewer.canvas.grid
    for name, value in attributes.items():
        if getattr(grid, name) != value:
            setattr(grid, name, value)


@contextmanager
def same_region(viewer: ViewerModel, layers: Sequence[Layer] | None = None) -> Iterator[None]:
    """Within this context the cells of the grid may change; what is seen in one stays.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Layer, optional
        That share the grid, one a cell; those of the viewer if left out.
    """
    sharing = viewer.layers if layers is None else layers
    before = np.array(viewer.canvas.viewbox_size(sharing))
    yield
    ratio = np.array(viewer.canvas.viewbox_size(sharing)) / before
    # The side that changes most decides, so that a change that is undone leaves no trace.
    factor = ratio.min() if ratio.prod() < 1 else ratio.max()
    if factor != 1:
        viewer.scene.camera.zoom *= float(factor)
