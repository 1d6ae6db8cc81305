"""What of an image is restored: what the viewer shows, or what is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from napari.layers import Shapes

from napari_blindsr._napari.drawn import in_pixels, is_on_slice
from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.layers import quoted
from napari_blindsr.errors import InputError
from napari_blindsr.parts import Box

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_blindsr._napari.inputs import Plane

SMALLEST = 16
"""Least side of a region in pixels: less shows nothing."""

VIEW: Literal["view"] = "view"
"""Stands for the visible field of view."""


def read_region(
    choice: Shapes | Literal["view"] | None,
    layer: Image,
    plane: Plane,
    viewer: ViewerModel,
    *,
    any_slice: bool = False,
) -> Box | None:
    """Return what is to be restored of a layer's plane. Call it on the main thread.

    Parameters
    ----------
    choice : Shapes, "view" or None
        Of a layer of shapes, the box around those that are selected, or else around all that are
        on display; "view" is what the canvas shows; None is everything.
    layer : napari.layers.Image
    plane : Plane
    viewer : ViewerModel
    any_slice : bool
        Whether shapes on other slices count, too.

    Returns
    -------
    Box or None
        The pixels whose centres lie within.

    Raises
    ------
    InputError
        If there is no such region, or less than 16 pixels of it on a side.
    """
    if choice is None:
        return None
    if isinstance(choice, Shapes):
        called = f"the region, {quoted(choice)},"
        points = _drawn(choice, plane, Frame.of_layer(layer), viewer, any_slice=any_slice)
    else:
        called = "the visible field of view"
        points = _visible(plane, Frame.of_layer(layer), viewer)
    return _box(points, plane.shape, called=called, image=quoted(layer))


def _box(points: NDArray[np.float64], shape: tuple[int, int], *, called: str, image: str) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    top, left = (max(0, math.ceil(at)) for at in low)
    bottom, right = (min(n, math.floor(at) + 1) for at, n in zip(high, shape, strict=True))
    height, width = bottom - top, right - left
    if height <= 0 or width <= 0:
        raise InputError(f"{called} lies outside of {image}; expected a part of it")
    if min(height, width) < SMALLEST:
        raise InputError(
            f"{called} covers {height} × {width} pixels of {image}; expected at least "
            f"{SMALLEST} on each side"
        )
    return Box(top=top, left=left, bottom=bottom, right=right)


def _drawn(
    layer: Shapes, plane: Plane, frame: Frame, viewer: ViewerModel, *, any_slice: bool
) -> NDArray[np.float64]:
    """Return corners of shapes in pixels of the image."""
    own = Frame.of_layer(layer)
    position = np.asarray(layer.world_to_data(viewer.dims.point))
    shapes = [np.asarray(data, dtype=float) for data in layer.data]
    if not shapes:
        raise InputError(f"the region, {quoted(layer)}, holds no shapes; expected a rectangle")
    chosen = sorted(layer.selected_data) or range(len(shapes))
    found = []
    for vertices in (shapes[number] for number in chosen):
        if any_slice or is_on_slice(vertices, position, plane):
            world = own.to_world(vertices)
            pixels = in_pixels(world, plane, frame, any_slice=any_slice)
            if pixels is not None:
                found.append(pixels)
    if not found:
        raise InputError(
            f"the region, {quoted(layer)}, has no shapes on the slice on display; expected a "
            "rectangle there"
        )
    return np.concatenate(found)


def _visible(plane: Plane, frame: Frame, viewer: ViewerModel) -> NDArray[np.float64]:
    """Return the corners of the canvas in pixels of the image."""
    camera, canvas = viewer.scene.camera, viewer.canvas
    grid = canvas.grid.actual_shape(viewer.layers)
    half = np.asarray(canvas.size) / np.asarray(grid) / camera.zoom / 2
    middle = np.asarray(camera.center[-2:])
    corners = middle + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * half
    world = np.tile(np.asarray(viewer.dims.point, dtype=float), (4, 1))
    world[:, list(viewer.dims.displayed)] = corners
    pixels = in_pixels(world, plane, frame, any_slice=True)
    assert pixels is not None
    return pixels
