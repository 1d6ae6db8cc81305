"""From a layer of labels or shapes to the mask of an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels, Shapes
from skimage.draw import polygon2mask

from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.inputs import LayerInput, MaskInput
from napari_blindsr._napari.layers import finest, quoted, read_pixels
from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer
    from numpy.typing import NDArray

ELLIPSE_POINTS = 128


def read_mask(layer: Layer, image: LayerInput, dims: Dims) -> MaskInput:
    """Read a mask from a layer. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Labels or napari.layers.Shapes
        Labels are taken pixel by pixel; nonzero is covered. Shapes are drawn into the
        image's pixels, through the transforms of both layers: a pixel is covered if its
        centre lies inside.
    image : LayerInput
    dims : napari.components.Dims
        The viewer's.

    Raises
    ------
    InputError
        If the layer is of another kind, or labels have other pixels than the image.
    """
    if isinstance(layer, Labels):
        return MaskInput(name=str(layer.name), kind="labels", covered=_labelled(layer, image))
    if isinstance(layer, Shapes):
        return MaskInput(name=str(layer.name), kind="shapes", covered=_drawn(layer, image, dims))
    raise InputError(f"the mask is {quoted(layer)}; expected a layer of labels or shapes")


def _labelled(layer: Labels, image: LayerInput) -> NDArray[np.bool_]:
    plane = image.plane
    shape = tuple(int(size) for size in finest(layer).shape)
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


def _drawn(layer: Shapes, image: LayerInput, dims: Dims) -> NDArray[np.bool_]:
    covered = np.zeros(image.plane.shape, dtype=bool)
    frame = Frame.of_layer(layer)
    position = np.asarray(layer.world_to_data(dims.point))
    for data, kind, width in zip(layer.data, layer.shape_type, layer.edge_width, strict=True):
        vertices = np.asarray(data, dtype=float)
        if not _is_on_slice(vertices, position, image):
            continue
        for outline in _outlines(vertices, kind, float(width), image):
            pixels = _in_pixels(frame.to_world(outline), image)
            if pixels is not None:
                covered |= polygon2mask(covered.shape, pixels)
    return covered


def _is_on_slice(
    vertices: NDArray[np.float64], position: NDArray[np.float64], image: LayerInput
) -> bool:
    """Tell whether a shape is on display along the axes that the image does not have."""
    extra = max(vertices.shape[1] - len(image.plane.index), 0)
    return bool((np.rint(vertices[:, :extra]) == np.rint(position[:extra])).all())


def _outlines(
    vertices: NDArray[np.float64], kind: str, width: float, image: LayerInput
) -> Iterator[NDArray[np.float64]]:
    """Yield polygons (n, D) that a shape consists of, in the data coordinates of its layer."""
    if kind == "ellipse":
        middle = vertices.mean(axis=0)
        axes = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
        yield middle + np.cos(angle) * axes[0] + np.sin(angle) * axes[1]
    elif kind in ("line", "path"):
        # A layer's axes are the last ones of the viewer.
        behind = vertices.shape[1] - len(image.plane.index)
        row, column = (axis + behind for axis in image.plane.axes)
        for start, end in itertools.pairwise(vertices):
            length = float(np.hypot(end[row] - start[row], end[column] - start[column]))
            if length > 0:
                side = np.zeros_like(start)
                side[row] = (end[column] - start[column]) * width / (2 * length)
                side[column] = -(end[row] - start[row]) * width / (2 * length)
                yield np.stack([start + side, end + side, end - side, start - side])
    else:
        yield vertices


def _in_pixels(world: NDArray[np.float64], image: LayerInput) -> NDArray[np.float64] | None:
    """Return points of the world (n, D) as rows and columns of the image, if on its slice."""
    plane, frame = image.plane, image.frame
    axes = len(plane.index)
    points = np.tile(
        frame.to_world([0.0 if at is None else at for at in plane.index]), (len(world), 1)
    )
    shared = min(axes, world.shape[1])
    points[:, axes - shared :] = world[:, world.shape[1] - shared :]
    data = frame.from_world(points)
    for axis in plane.others:
        if (np.rint(data[:, axis]) != plane.index[axis]).any():
            return None
    pixels: NDArray[np.float64] = data[:, list(plane.axes)]
    return pixels
