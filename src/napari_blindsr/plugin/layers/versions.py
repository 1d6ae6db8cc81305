"""Where napari keeps what it has moved between its versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Layer
from numpy.typing import NDArray

MOVED = find_spec("napari.components.scene") is not None
"""Whether a viewer has a scene and a canvas, as since napari 0.9."""


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera of a viewer."""
    return viewer.scene.camera if MOVED else viewer.camera


def grid_of(viewer: ViewerModel) -> Any:
    """Return the grid of a viewer."""
    return viewer.canvas.grid if MOVED else viewer.grid


def cell_size(viewer: ViewerModel, layers: Sequence[Layer] | None = None) -> NDArray[np.float64]:
    """Return the height and width of a cell of the grid in pixels of the screen.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Layer, optional
        That share the grid; those of the viewer if left out.
    """
    sharing = viewer.layers if layers is None else layers
    if MOVED:
        return np.asarray(viewer.canvas.viewbox_size(sharing), float)
    size = np.asarray(viewer._canvas_size, float)  # noqa: SLF001
    cells = np.asarray(viewer.grid.actual_shape(len(sharing)), float)
    return np.asarray(size / cells)


def view_emitters(viewer: ViewerModel) -> list[Any]:
    """Return what tells that another part of the world is on display, as far as napari tells."""
    camera = camera_of(viewer).events
    return [camera.center, camera.zoom, *([viewer.canvas.events.size] if MOVED else [])]


def has_cells(viewer: ViewerModel) -> bool:
    """Return whether each cell of the grid is a view of its own, as since napari 0.6."""
    return MOVED or hasattr(viewer.grid, "iter_viewboxes")


def shared_units(layers: LayerList) -> tuple[Any, ...] | None:
    """Return the units of the world that layers are shown in; None if they do not go together."""
    if hasattr(layers.extent, "units"):
        units: tuple[Any, ...] | None = layers.extent.units
        return units
    # Older versions show numbers as they are; they have units if all layers say the same.
    own = {tuple(layer.units) for layer in layers}
    return own.pop() if len(own) == 1 else None


def on_renamed(layers: LayerList, callback: Callable[..., None]) -> Callable[[], None]:
    """Call back when a layer gets another name; return what ends that."""
    if hasattr(layers.events, "renamed"):
        layers.events.renamed.connect(callback)
        return lambda: layers.events.renamed.disconnect(callback)

    # Older versions pass on what their layers tell.
    def told(event: Any) -> None:
        if getattr(event, "type", "") == "name":
            callback(event)

    layers.events.connect(told)
    return lambda: layers.events.disconnect(told)
