"""Where what was measured lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.inputs import Plane


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where an array of pixels lies: a plane of a layer, or a part of it.

    Attributes
    ----------
    frame : Frame
        Of the whole layer.
    plane : Plane
    corner : tuple of int
        Row and column of the plane where the array begins.
    """

    frame: Frame
    plane: Plane
    corner: tuple[int, int] = (0, 0)

    def attributes(self) -> dict[str, Any]:
        """Return the placement of the array, one pixel thick elsewhere, as a layer's."""
        origin = [0.0 if at is None else float(at) for at in self.plane.index]
        for axis, start in zip(self.plane.axes, self.corner, strict=True):
            origin[axis] = float(start)
        return self.frame.resampled(origin, np.ones(len(origin))).attributes()
