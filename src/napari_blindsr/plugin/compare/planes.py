"""The plane of a layer on display in world coordinates, and a call when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.spatial_image import SpatialImage
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.read import find_plane, quoted, read_pixels, spatial_shape
from napari_blindsr.plugin.layers.versions import shared_units, unit_symbol

MOST_PIXELS = 2**26
"""Of a pyramid the finest level with no more pixels is read."""
LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue (ITU-R BT.709)."""


def read_placed(layer: Image, viewer: ViewerModel) -> SpatialImage:
    """Read the plane on display of a layer, which may be hidden; of RGB the luminance in [0, 1].

    Call it on the main thread. Raises an `InputError` if there is no such plane or it cannot be
    read.
    """
    plane = find_plane(layer, viewer.dims)
    level, steps = _level(layer, plane.axes)
    index = tuple(
        None if at is None else min(round((at + 0.5) / step - 0.5), size - 1)
        for at, step, size in zip(plane.index, steps, spatial_shape(layer, level), strict=True)
    )
    data = read_pixels(layer, index, level=level)
    # Pixels of a coarser level span as many of the finest one, edge to edge.
    sides = steps[list(plane.axes)]
    frame = plane.grid(Frame.of_layer(layer), origin=(sides - 1) / 2, step=sides)
    factors = world_factors(layer, viewer)
    rows = list(plane.axes)
    linear = factors[rows, None] * frame.world_linear[np.ix_(rows, rows)]
    start = (factors * frame.to_world(np.zeros(len(steps))))[rows]
    return SpatialImage(data=_grey(data) if layer.rgb else data, linear=linear, origin=start)


def plane_axes(viewer: ViewerModel) -> tuple[int, int]:
    """Return the world axes on display in ascending order; raises an `InputError` in 3-D."""
    if viewer.dims.ndisplay != 2:
        raise InputError("the viewer shows three dimensions; switch it to 2-D to compare layers")
    first, second = sorted(viewer.dims.displayed)
    return int(first), int(second)


def world_units(viewer: ViewerModel) -> tuple[str, str]:
    """Return the units of the axes on display as they are written, such as "µm" or "px"."""
    units = shared_units(viewer.layers)
    names = []
    for axis in plane_axes(viewer):
        # Layers in units that do not go together are all shown as if they had none.
        unit = None if units is None else units[axis]
        names.append("px" if unit is None else unit_symbol(unit) or "px")
    return names[0], names[1]


def world_factors(layer: Layer, viewer: ViewerModel) -> NDArray[np.float64]:
    """Return, for each axis of a layer, the factor from its unit to that of the viewer.

    napari shows layers in the smallest of their units of an axis.
    """
    units = shared_units(viewer.layers)
    if units is None:
        return np.ones(layer.ndim)
    shared = units[len(units) - layer.ndim :]
    factors = [
        float((1 * own).to(common).magnitude)
        for own, common in zip(layer.units, shared, strict=True)
    ]
    return np.array(factors)


def check_comparable(layers: list[Image]) -> None:
    """Raise an `InputError` for grey and RGB layers together."""
    for layer in layers[1:]:
        if layer.rgb != layers[0].rgb:
            colour, grey = (layer, layers[0]) if layer.rgb else (layers[0], layer)
            raise InputError(
                f"{quoted(colour)} is RGB and {quoted(grey)} is grey; "
                "expected layers of one kind to subtract"
            )


def _level(layer: Image, axes: tuple[int, int]) -> tuple[int, NDArray[np.float64]]:
    """Return the level of a pyramid that is read, and the size of its pixels in finest ones."""
    if not layer.multiscale:
        return 0, np.ones(layer.ndim)
    for level in range(len(layer.data)):
        shape = spatial_shape(layer, level)
        if shape[axes[0]] * shape[axes[1]] <= MOST_PIXELS:
            break
    steps = np.array(spatial_shape(layer)) / np.array(spatial_shape(layer, level))
    return level, steps


def _grey(data: NDArray[Any]) -> NDArray[np.float32]:
    top = np.iinfo(data.dtype).max if np.issubdtype(data.dtype, np.integer) else 1
    grey = data[..., :3].astype(np.float32) @ np.array(LUMINANCE, dtype=np.float32)
    return np.asarray(grey / top, dtype=np.float32)


PERIOD = 40
"""Milliseconds between two calls at least: 25 a second."""
PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")


class PlaneWatcher:
    """Calls back once for all changes of the slice or of layers within a short time.

    With `moving` it also calls back while shapes are being moved.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layers: Sequence[Layer],
        callback: Callable[[], None],
        *,
        moving: bool = False,
    ) -> None:
        self._events = ("data", *PLACE, *(("set_data",) if moving else ()))
        self._viewer, self._layers, self._callback = viewer, list(layers), callback
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PERIOD)
        self._timer.timeout.connect(callback)
        for emitter in self._emitters():
            emitter.connect(self._changed)

    def remove(self) -> None:
        """Disconnect."""
        self._timer.stop()
        for emitter in self._emitters():
            emitter.disconnect(self._changed)

    def _changed(self, *_: Any) -> None:
        # Not put off by further changes: a line that is dragged is followed while it moves.
        if not self._timer.isActive():
            self._timer.start()

    def _emitters(self) -> list[Any]:
        dims = self._viewer.dims.events
        return [
            dims.current_step,
            *(getattr(layer.events, name) for layer in self._layers for name in self._events),
        ]
