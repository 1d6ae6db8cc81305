"""Parts of napari that moved between its versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
import pint
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
    """Return height and width of a grid cell in pixels of the screen; `layers` share the grid."""
    sharing = viewer.layers if layers is None else layers
    if MOVED:
        return np.asarray(viewer.canvas.viewbox_size(sharing), float)
    size = np.asarray(viewer._canvas_size, float)  # noqa: SLF001
    cells = np.asarray(viewer.grid.actual_shape(len(sharing)), float)
    return np.asarray(size / cells)


def fit_view(viewer: ViewerModel, layers: Sequence[Layer], *, margin: float = 0.05) -> None:
    """Show these layers in whole, with a margin that is a fraction of the canvas."""
    if "layers" in signature(viewer.reset_view).parameters:
        viewer.reset_view(layers=layers, margin=margin)
        return
    # Older versions fit all layers.
    viewer.reset_view(margin=margin)
    if viewer.dims.ndisplay == 2 and layers:
        extent = viewer.layers.get_extent(layers)
        shown = list(viewer.dims.displayed)
        sides = (np.ptp(extent.world, axis=0) + extent.step)[shown]
        camera = camera_of(viewer)
        camera.center = (0, *extent.world.mean(axis=0)[shown])
        camera.zoom = (1 - margin) * float(np.min(cell_size(viewer) / sides))


def view_emitters(viewer: ViewerModel) -> list[Any]:
    """Return the events that tell that another part of the world is on display."""
    camera = camera_of(viewer).events
    return [camera.center, camera.zoom, *([viewer.canvas.events.size] if MOVED else [])]


def shared_units(layers: LayerList) -> tuple[Any, ...] | None:
    """Return the units of the world of layers; None if they do not fit each other."""
    if hasattr(layers.extent, "units"):
        units: tuple[Any, ...] | None = layers.extent.units
        return units
    # Older versions show numbers as they are; they have units if all layers say the same.
    own = {tuple(layer.units) for layer in layers}
    return own.pop() if len(own) == 1 else None


def unit_symbol(unit: Any) -> str:
    """Return a unit of a layer as it is written, such as "µm"; empty for pixels."""
    # With the sign for micro: pint writes the Greek letter from 0.26.
    symbol = f"{pint.Unit(str(unit)):~P}".replace("\N{GREEK SMALL LETTER MU}", "µ")
    return "" if str(unit) == "pixel" else symbol


def on_renamed(layers: LayerList, callback: Callable[..., None]) -> Callable[[], None]:
    """Call back when a layer is renamed; return a function that disconnects."""
    if hasattr(layers.events, "renamed"):
        layers.events.renamed.connect(callback)
        return lambda: layers.events.renamed.disconnect(callback)

    # Older versions pass on the events of their layers.
    def renamed(event: Any) -> None:
        if getattr(event, "type", "") == "name":
            callback(event)

    layers.events.connect(renamed)
    return lambda: layers.events.disconnect(renamed)
