"""The line that profiles are taken along: a line or path of a Shapes layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray

from napari_blindsr._napari.comparing.planes import plane_axes, read_placed, world_factors
from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.layers import quoted
from napari_blindsr.errors import InputError

LINE_KINDS = ("line", "path")
LINE_NAME = "Profile line"
LINE_COLOUR = "#ffcc1a"
SPAN = 0.5
"""Length of a new line, in widths of the finest layer."""
THICKNESS = 0.004
"""Thickness of a new line, likewise."""


def read_line(layer: Shapes, viewer: ViewerModel) -> NDArray[np.float64]:
    """Return the vertices, (m, 2), of a line in the world on display.

    Of several lines it is the selected one, or else the last.

    Raises
    ------
    InputError
        If there is none.
    """
    lines = [number for number, kind in enumerate(layer.shape_type) if kind in LINE_KINDS]
    if not lines:
        raise InputError(f"{quoted(layer)} has no line; draw one with its line or path tool")
    selected = [number for number in lines if number in layer.selected_data]
    vertices = Frame.of_layer(layer).to_world(layer.data[(selected or lines)[-1]])
    # A layer's axes are the last ones of the viewer.
    axes = [axis - (viewer.dims.ndim - layer.ndim) for axis in plane_axes(viewer)]
    if min(axes) < 0:
        raise InputError(f"{quoted(layer)} lies across the axes on display; draw another line")
    world: NDArray[np.float64] = (vertices * world_factors(layer, viewer))[:, axes]
    return world


def add_line(viewer: ViewerModel, images: Sequence[Image]) -> Shapes:
    """Add a layer with a line across the middle of images, ready to be moved.

    Raises
    ------
    InputError
        If no single plane of them is on display, or the last two axes are not.
    """
    ndim = viewer.dims.ndim
    if plane_axes(viewer) != (ndim - 2, ndim - 1):
        raise InputError("the viewer shows other axes than the last two; bring these on display")
    finest = min(
        (read_placed(image, viewer) for image in images), key=lambda image: image.pixel_size
    )
    low, high = finest.bounds()
    middle, half = (low + high) / 2, SPAN / 2 * (high - low)
    size, width = finest.pixel_size, float(high[1] - low[1])
    line = np.array([[middle[0], middle[1] - half[1]], [middle[0], middle[1] + half[1]]])
    # The line lies in the world on display, whose units are those of all layers.
    units = viewer.layers.extent.units
    layer = viewer.add_shapes(
        [line / size],
        shape_type="line",
        name=LINE_NAME,
        scale=(size, size),
        units=images[0].units[-2:] if units is None else units[-2:],
        edge_color=LINE_COLOUR,
        edge_width=max(THICKNESS * width / size, 0.5),
    )
    layer.mode = "select"
    layer.selected_data = {0}
    return layer
