"""Masks and regions of an image from Labels and Shapes layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from napari.layers import Labels, Shapes
from skimage.draw import polygon2mask

from napari_blindsr.errors import InputError
from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.inputs import Frame, LayerInput, MaskInput, Plane
from napari_blindsr.plugin.layers.read import array_of, quoted, read_pixels
from napari_blindsr.plugin.layers.versions import camera_of, cell_size

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Image, Layer
    from numpy.typing import NDArray


def read_mask(layer: Layer, image: LayerInput, dims: Dims) -> MaskInput:
    """Read a mask from a layer. Call it on the main thread.

    Of Labels the nonzero pixels are missing, of Shapes the pixels whose centres lie inside. Raises
    an `InputError` for other layers, or for labels with other pixels than the image.
    """
    if isinstance(layer, Labels):
        return MaskInput(name=str(layer.name), kind="labels", covered=_labelled(layer, image))
    if isinstance(layer, Shapes):
        return MaskInput(
            name=str(layer.name), kind="shapes", covered=_drawn_mask(layer, image, dims)
        )
    raise InputError(f"the mask is {quoted(layer)}; expected a layer of labels or shapes")


def _labelled(layer: Labels, image: LayerInput) -> NDArray[np.bool_]:
    plane = image.plane
    shape = tuple(int(size) for size in array_of(layer).shape)
    within = len(shape) == len(plane.index) and all(
        at is None or at < size for at, size in zip(plane.index, shape, strict=True)
    )
    # A stack is cut as the image is; a plane serves for any slice.
    cut = plane.index if within else (None, None)
    if len(cut) == len(shape):
        left = tuple(size for size, at in zip(shape, cut, strict=True) if at is None)
        if left == plane.shape:
            return np.asarray(read_pixels(layer, cut) != 0)
    raise InputError(
        f"the mask, {quoted(layer)}, is {_size(shape)}; "
        f"expected {_size(plane.shape)}, the size of the image"
    )


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _drawn_mask(layer: Shapes, image: LayerInput, dims: Dims) -> NDArray[np.bool_]:
    covered = np.zeros(image.plane.shape, dtype=bool)
    frame = Frame.of_layer(layer)
    position = np.asarray(layer.world_to_data(dims.point))
    for data, kind, width in zip(layer.data, layer.shape_type, layer.edge_width, strict=True):
        vertices = np.asarray(data, dtype=float)
        if not is_on_slice(vertices, position, image.plane):
            continue
        for outline in outlines(vertices, kind, float(width), image.plane):
            pixels = in_pixels(frame.to_world(outline), image.plane, image.frame)
            if pixels is not None:
                covered |= polygon2mask(covered.shape, pixels)
    return covered


ELLIPSE_POINTS = 128


def is_on_slice(vertices: NDArray[np.float64], position: NDArray[np.float64], plane: Plane) -> bool:
    """Tell whether a shape is on display along the axes that the image does not have."""
    extra = max(vertices.shape[1] - len(plane.index), 0)
    return bool((np.rint(vertices[:, :extra]) == np.rint(position[:extra])).all())


def outlines(
    vertices: NDArray[np.float64], kind: str, width: float, plane: Plane
) -> Iterator[NDArray[np.float64]]:
    """Yield the polygons (n, D) of a shape, in the data coordinates of its layer."""
    if kind == "ellipse":
        middle = vertices.mean(axis=0)
        axes = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
        yield middle + np.cos(angle) * axes[0] + np.sin(angle) * axes[1]
    elif kind in ("line", "path"):
        # A layer's axes are the last ones of the viewer.
        behind = vertices.shape[1] - len(plane.index)
        row, column = (axis + behind for axis in plane.axes)
        for start, end in itertools.pairwise(vertices):
            length = float(np.hypot(end[row] - start[row], end[column] - start[column]))
            if length > 0:
                side = np.zeros_like(start)
                side[row] = (end[column] - start[column]) * width / (2 * length)
                side[column] = -(end[row] - start[row]) * width / (2 * length)
                yield np.stack([start + side, end + side, end - side, start - side])
    else:
        yield vertices


def in_pixels(
    world: NDArray[np.float64], plane: Plane, frame: Frame, *, any_slice: bool = False
) -> NDArray[np.float64] | None:
    """Return world points (n, D) as rows and columns of an image, or None on other slices.

    With `any_slice` points on other slices count, too.
    """
    axes = len(plane.index)
    points = np.tile(
        frame.to_world([0.0 if at is None else at for at in plane.index]), (len(world), 1)
    )
    shared = min(axes, world.shape[1])
    points[:, axes - shared :] = world[:, world.shape[1] - shared :]
    data = frame.from_world(points)
    if not any_slice:
        for axis in plane.others:
            if (np.rint(data[:, axis]) != plane.index[axis]).any():
                return None
    pixels: NDArray[np.float64] = data[:, list(plane.axes)]
    return pixels


SMALLEST = 16
"""Least side of a region in pixels."""

VIEW: Literal["view"] = "view"
"""The choice of the visible field of view."""


def read_region(
    choice: Shapes | Literal["view"] | None,
    layer: Image,
    plane: Plane,
    viewer: ViewerModel,
    *,
    any_slice: bool = False,
) -> Box | None:
    """Return the pixels of a plane that a choice of a region means. Call it on the main thread.

    Of Shapes it is the box around the selected ones, or else around all on display, with
    `any_slice` on any slice; "view" is the visible field of view; None is the whole plane. Raises
    an `InputError` if there is no such region, or it has less than 16 pixels on a side.
    """
    if choice is None:
        return None
    if isinstance(choice, Shapes):
        called = f"the region, {quoted(choice)},"
        points = _drawn_points(choice, plane, Frame.of_layer(layer), viewer, any_slice=any_slice)
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


def _drawn_points(
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
    camera = camera_of(viewer)
    half = cell_size(viewer) / camera.zoom / 2
    middle = np.asarray(camera.center[-2:])
    corners = middle + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * half
    world = np.tile(np.asarray(viewer.dims.point, dtype=float), (4, 1))
    world[:, list(viewer.dims.displayed)] = corners
    pixels = in_pixels(world, plane, frame, any_slice=True)
    assert pixels is not None
    return pixels
