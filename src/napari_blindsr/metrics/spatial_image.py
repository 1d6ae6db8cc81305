"""Images with a place in the world: values at any point, and on the grid of another image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import affine_transform, map_coordinates

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


EDGE = 0.5 + 1e-6
"""How far a pixel reaches from its centre, in pixels, with room for rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SpatialImage:
    """A grey image and where its pixels lie.

    The centre of the pixel in row i and column j lies at linear @ (i, j) + origin.

    Attributes
    ----------
    data : ndarray, (h, w)
        Of any real type; the values stay as they are.
    linear : ndarray, float64, (2, 2)
        A step in pixels, (rows, columns), to a step in the world.
    origin : ndarray, float64, (2,)
        Centre of pixel (0, 0) in the world.
    """

    data: NDArray[Any]
    linear: NDArray[np.float64]
    origin: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or 0 in self.data.shape:
            raise InputError(f"image has shape {self.data.shape}; expected (h, w) with pixels")
        if np.shape(self.linear) != (2, 2) or np.shape(self.origin) != (2,):
            raise InputError(
                f"placement has shapes {np.shape(self.linear)} and {np.shape(self.origin)}; "
                "expected (2, 2) and (2,)"
            )
        if not self.pixel_size > 0:
            raise InputError("the image's transform has no inverse; its pixels have no area")

    @property
    def pixel_size(self) -> float:
        """Side of a square as large as a pixel, in units of the world."""
        return float(np.sqrt(abs(np.linalg.det(self.linear))))

    def to_world(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Map (row, column) in pixels, (…, 2), to the world."""
        world: NDArray[np.float64] = np.asarray(pixels, dtype=float) @ self.linear.T + self.origin
        return world

    def from_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of the world, (…, 2), to (row, column) in pixels."""
        moved = np.asarray(points, dtype=float) - self.origin
        pixels: NDArray[np.float64] = moved @ np.linalg.inv(self.linear).T
        return pixels

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and greatest world coordinates, (2,), that the pixels reach."""
        height, width = self.data.shape
        corners = [(i, j) for i in (-0.5, height - 0.5) for j in (-0.5, width - 0.5)]
        world = self.to_world(corners)
        return world.min(axis=0), world.max(axis=0)

    def sample(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the values at points of the world, interpolated linearly.

        Parameters
        ----------
        points : array_like, (…, 2)

        Returns
        -------
        ndarray, float64, (…)
            NaN beyond the outer edges of the outermost pixels; between these edges and the
            outermost centres the value of the nearest pixel.
        """
        pixels = self.from_world(points)
        row, column = pixels.reshape(-1, 2).T
        values = map_coordinates(
            self.data, (row, column), order=1, mode="nearest", output=np.float64
        )
        inside = _within(row, self.data.shape[0]) & _within(column, self.data.shape[1])
        return np.where(inside, values, np.nan).reshape(pixels.shape[:-1])

    def resampled(self, grid: SpatialImage) -> NDArray[np.float32]:
        """Return the values at the pixels of another image, as `sample` does.

        Returns
        -------
        ndarray, float32, shape of the other image's data
        """
        inverse = np.linalg.inv(self.linear)
        matrix = inverse @ grid.linear
        offset = inverse @ (grid.origin - self.origin)
        height, width = grid.data.shape
        # A diagonal given as a vector is a stretch of each axis, which scipy does faster.
        stretch = np.abs(matrix - np.diag(np.diag(matrix))).max() < 1e-9 * np.abs(matrix).max()
        values = affine_transform(
            self.data,
            np.diag(matrix) if stretch else matrix,
            offset=offset,
            output_shape=(height, width),
            output=np.float32,
            order=1,
            mode="nearest",
        )
        row, column = np.arange(height)[:, None], np.arange(width)
        outside = np.zeros((height, width), dtype=bool)
        for axis, size in enumerate(self.data.shape):
            position = matrix[axis, 0] * row + matrix[axis, 1] * column + offset[axis]
            outside |= ~_within(position, size)
        values[outside] = np.nan
        return np.asarray(values, dtype=np.float32)


def difference(
    first: SpatialImage, second: SpatialImage
) -> tuple[NDArray[np.float32], SpatialImage]:
    """Return the first image minus the second, on the finer of their grids.

    The coarser image is interpolated linearly where the pixels of the finer one lie.

    Parameters
    ----------
    first, second : SpatialImage

    Returns
    -------
    difference : ndarray, float32
        NaN where only one of them is.
    grid : SpatialImage
        The finer of the two, whose shape and place it has.

    Raises
    ------
    InputError
        If they do not overlap.
    """
    grid = min(first, second, key=lambda image: image.pixel_size)
    values = [
        np.asarray(image.data, dtype=np.float32) if image is grid else image.resampled(grid)
        for image in (first, second)
    ]
    result = values[0] - values[1]
    if not np.isfinite(result).any():
        raise InputError("the two images have no place in common; nothing can be subtracted")
    return result, grid


def _within(position: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (position >= -EDGE) & (position <= size - 1 + EDGE)
    return inside
