"""What is drawn in a layer of shapes, in the pixels of an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr._napari.inputs import Plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr._napari.geometry import Frame

ELLIPSE_POINTS = 128


def is_on_slice(vertices: NDArray[np.float64], position: NDArray[np.float64], plane: Plane) -> bool:
    """Tell whether a shape is on display along the axes that the image does not have."""
    extra = max(vertices.shape[1] - len(plane.index), 0)
    return bool((np.rint(vertices[:, :extra]) == np.rint(position[:extra])).all())


def outlines(
    vertices: NDArray[np.float64], kind: str, width: float, plane: Plane
) -> Iterator[NDArray[np.float64]]:
    """Yield polygons (n, D) that a shape consists of, in the data coordinates of its layer."""
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
    """Return points of the world (n, D) as rows and columns of an image, if on its slice.

    Parameters
    ----------
    world : ndarray
    plane : Plane
    frame : Frame
        Of the image's layer.
    any_slice : bool
        Whether points on other slices count, too.
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
