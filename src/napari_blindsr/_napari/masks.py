"""From a layer of labels or shapes to the mask of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels, Shapes
from skimage.draw import polygon2mask

from napari_blindsr._napari.drawn import in_pixels, is_on_slice, outlines
from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.inputs import MaskInput, Source
from napari_blindsr._napari.layers import finest, quoted, read_pixels
from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer
    from numpy.typing import NDArray


def read_mask(layer: Layer, image: Source, dims: Dims) -> MaskInput:
    """Read a mask from a layer. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Labels or napari.layers.Shapes
        Labels are taken pixel by pixel; nonzero is covered. Shapes are drawn into the
        image's pixels, through the transforms of both layers: a pixel is covered if its
        centre lies inside.
    image : LayerInput or StackInput
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


def _labelled(layer: Labels, image: Source) -> NDArray[np.bool_]:
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


def _drawn(layer: Shapes, image: Source, dims: Dims) -> NDArray[np.bool_]:
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
