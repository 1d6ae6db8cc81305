"""Intensity along a line of the world, in any number of images, and its table as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.placed import PlacedImage

MOST_POINTS = 20_000
"""Points along a line at most; a longer one is sampled more coarsely."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Evenly spaced points along a line or a path.

    Attributes
    ----------
    distance : ndarray, float64, (n,)
        From the start, along the line, in units of the world.
    points : ndarray, float64, (n, 2)
        Where they lie in the world.
    normals : ndarray, float64, (n, 2)
        Of length 1, perpendicular to the line there.
    """

    distance: NDArray[np.float64]
    points: NDArray[np.float64]
    normals: NDArray[np.float64]

    @property
    def step(self) -> float:
        """Spacing of the points."""
        return float(self.distance[1])


def trace_line(vertices: ArrayLike, step: float) -> Line:
    """Put points on a line or a path.

    Parameters
    ----------
    vertices : array_like, (m, 2)
        Of the world, m ≥ 2; vertices that repeat the one before are left out.
    step : float
        Greatest spacing of the points; what it comes to divides the length.

    Returns
    -------
    Line
        From the first to the last vertex, both included.

    Raises
    ------
    InputError
        If there are not two distinct vertices, or the step is not positive.
    """
    corners = np.asarray(vertices, dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise InputError(f"line has vertices of shape {corners.shape}; expected (m, 2), finite")
    if not step > 0:
        raise InputError(f"step is {step}; it must be positive")
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    distinct = np.concatenate([[True], lengths > 0])
    corners, lengths = corners[distinct], lengths[lengths > 0]
    if len(corners) < 2:
        raise InputError("line has no length; expected two distinct points")
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    count = min(max(int(np.ceil(reached[-1] / step - 1e-9)) + 1, 2), MOST_POINTS)
    distance = np.linspace(0, reached[-1], count)
    segment = np.clip(np.searchsorted(reached, distance, side="right") - 1, 0, len(lengths) - 1)
    along = (np.diff(corners, axis=0) / lengths[:, None])[segment]
    points = corners[segment] + along * (distance - reached[segment])[:, None]
    normals = np.stack([along[:, 1], -along[:, 0]], axis=1)
    return Line(distance=distance, points=points, normals=normals)


def sample_line(image: PlacedImage, line: Line, *, width: float = 0.0) -> NDArray[np.float64]:
    """Return the values of an image along a line.

    Parameters
    ----------
    image : PlacedImage
    line : Line
    width : float
        In units of the world: the mean is taken over this width across the line, at a
        spacing of half a pixel or less. 0 takes the line alone.

    Returns
    -------
    ndarray, float64, (n,)
        NaN where the image does not reach. Across a width the mean is over what it reaches.
    """
    if not width >= 0:
        raise InputError(f"width is {width}; it must not be negative")
    if width == 0:
        return image.sample(line.points)
    count = int(np.ceil(2 * width / image.pixel_size)) + 1
    # Midpoints of equal shares of the width: each stands for as much of it.
    across = (np.arange(count) + 0.5) / count * width - width / 2
    total, number = np.zeros(len(line.distance)), np.zeros(len(line.distance))
    for offset in across:
        values = image.sample(line.points + offset * line.normals)
        total += np.nan_to_num(values)
        number += np.isfinite(values)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def profile_table(
    line: Line,
    columns: Mapping[str, NDArray[np.float64]],
    *,
    units: Sequence[str],
    axes: Sequence[str] = ("y", "x"),
) -> str:
    """Return profiles as the text of a CSV file (RFC 4180, decimal points).

    Parameters
    ----------
    line : Line
    columns : mapping of str to ndarray, (n,)
        Values by their heading; NaN leaves a cell empty.
    units : sequence of str
        Of the world's two axes; that of the distance is the second.
    axes : sequence of str
        Names of the world's two axes.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    places = [f"{name} ({unit})" for name, unit in zip(axes, units, strict=True)]
    writer.writerow([f"distance ({units[1]})", *places, *columns])
    rows = np.column_stack([line.distance, line.points, *columns.values()])
    for row in rows:
        writer.writerow([f"{value:.9g}" if np.isfinite(value) else "" for value in row])
    return text.getvalue()
