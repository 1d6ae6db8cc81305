"""One layer minus another, as a layer of its own for as long as it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils import Colormap
from numpy.typing import NDArray

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.metrics.spatial_image import difference
from napari_blindsr.plugin.compare.mode import Mode
from napari_blindsr.plugin.compare.planes import (
    MOST_PIXELS,
    PlaneWatcher,
    check_comparable,
    read_placed,
)
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.outputs import METADATA_KEY
from napari_blindsr.plugin.layers.read import find_plane

KIND = "difference"
# Two hues that the colour-blind tell apart, as in ColorBrewer's RdBu; zero is white.
DIVERGING = Colormap(
    [
        [0.02, 0.19, 0.38, 1],
        [0.13, 0.40, 0.67, 1],
        [0.57, 0.77, 0.87, 1],
        [1.0, 1.0, 1.0, 1],
        [0.96, 0.65, 0.51, 1],
        [0.70, 0.09, 0.17, 1],
        [0.40, 0.0, 0.12, 1],
    ],
    name="blue-white-red",
    nan_color=[0, 0, 0, 0],
)
QUANTILE = 0.999
"""Quantile at which the colours end: single pixels shall not pale the rest."""


class Difference(Mode):
    """Shows the last of two layers minus the first, on the finer one's pixels."""

    name = "difference"
    label = "Difference"
    most = 2

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.layer: Image | None = None
        self._limit = 0.0
        self._watcher: PlaneWatcher | None = None

    def enter(self) -> None:
        """Add the layer of the difference, and hide all others."""
        check_comparable(self.layers)
        self.without_grid()
        values, attributes = self._compute()
        self.only(visible=False)
        self.layer = self.viewer.add_image(values, **attributes)
        self._watcher = PlaneWatcher(self.viewer, self.layers, self._refresh)

    def leave(self) -> None:
        """Remove the layer of the difference."""
        if self._watcher is not None:
            self._watcher.remove()
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer, self._watcher = None, None

    def uses(self, layer: Layer) -> bool:
        """Tell whether it is one of the two, or the difference."""
        return super().uses(layer) or layer is self.layer

    def text(self) -> str:
        """Return what the colours mean."""
        first, second = (layer.name for layer in self.layers)
        return f"Red: {second} is brighter than {first}; the colours end at ±{self._limit:.3g}"

    def _refresh(self) -> None:
        if self.layer is None or self.layer not in self.viewer.layers:
            return
        try:
            values, attributes = self._compute()
        except BlindSRError:
            # One of them does not have this slice: the difference of another one would deceive.
            self.layer.data = np.full_like(self.layer.data, np.nan)
            return
        self.layer.data = values
        for name in ("scale", "translate", "rotate", "shear", "affine", "contrast_limits"):
            setattr(self.layer, name, attributes[name])
        self.changed.emit()

    def _compute(self) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the data and attributes of the layer, in the frame of the finer one."""
        placed = [read_placed(layer, self.viewer) for layer in self.layers]
        for image in placed:
            if image.data.size > MOST_PIXELS:
                raise InputError(
                    f"an image of {image.data.shape[0]} × {image.data.shape[1]} pixels is too "
                    f"large for a difference; expected at most {MOST_PIXELS // 10**6} megapixels"
                )
        values, grid = difference(placed[1], placed[0])
        magnitude = np.abs(values[np.isfinite(values)])
        self._limit = float(np.quantile(magnitude, QUANTILE)) or float(magnitude.max()) or 1.0
        finer = self.layers[0 if grid is placed[0] else 1]
        plane = find_plane(finer, self.viewer.dims)
        # A level of a pyramid has larger pixels, edge to edge with the finest ones.
        steps = np.array(plane.shape) / values.shape
        frame = plane.grid(Frame.of_layer(finer), origin=(steps - 1) / 2, step=steps)
        first, second = (layer.name for layer in self.layers)
        attributes = {
            **frame.attributes(),
            "name": f"{second} − {first}",
            "metadata": {METADATA_KEY: {"kind": KIND}},
            "colormap": DIVERGING,
            "contrast_limits": (-self._limit, self._limit),
        }
        return plane.expanded(values), attributes
