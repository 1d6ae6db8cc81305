"""Intensity along a line, as CSV as well, and the width of a peak on it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.metrics.spatial_image import SpatialImage


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
        Greatest spacing of the points; the actual one divides the length.

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


def sample_line(image: SpatialImage, line: Line, *, width: float = 0.0) -> NDArray[np.float64]:
    """Return the values of an image along a line.

    Parameters
    ----------
    image : SpatialImage
    line : Line
    width : float
        In units of the world: the mean is taken over this width across the line, at a
        spacing of half a pixel or less. 0 takes the line alone.

    Returns
    -------
    ndarray, float64, (n,)
        NaN where the image does not reach. Across a width the mean is over the valid values.
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


FWHM_OF_SIGMA = 2 * float(np.sqrt(2 * np.log(2)))
"""Full width at half maximum of a Gaussian of standard deviation 1."""
LEAST_POINTS = 6
"""Fewest values that four parameters are fitted to."""
REACH = 3.0
"""How far the fit goes from the peak, in half widths at half height."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A fitted Gaussian on a constant: offset + amplitude · exp(−(t − center)²/(2σ²)).

    Attributes
    ----------
    center, sigma : float
        In the unit of the distance.
    amplitude : float
        Negative for a dip.
    offset : float
    low, high : float
        Between which distances it was fitted.
    r_squared : float
        Share of the variance there that the fit explains, at most 1.
    """

    center: float
    sigma: float
    amplitude: float
    offset: float
    low: float
    high: float
    r_squared: float

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, 2·√(2·ln 2)·σ."""
        return FWHM_OF_SIGMA * self.sigma

    def at(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return the fitted curve, NaN outside of where it was fitted."""
        place = np.asarray(distance, dtype=float)
        curve = _gaussian(place, self.center, self.sigma, self.amplitude, self.offset)
        return np.where((place >= self.low) & (place <= self.high), curve, np.nan)


def fit_peak(distance: ArrayLike, values: ArrayLike) -> Peak:
    """Fit the strongest peak, or dip, of a profile.

    It is found where the profile is farthest from its median, and fitted by least squares
    over `REACH` times its half width at half height to both sides, so that neighbours
    matter little.

    Parameters
    ----------
    distance : array_like, (n,)
        Ascending.
    values : array_like, (n,)
        Those that are not finite are left out.

    Returns
    -------
    Peak

    Raises
    ------
    InputError
        If there is no peak: too few values, all alike, or no fit whose centre and width
        lie within the fitted range.
    """
    place = np.asarray(distance, dtype=float)
    height = np.asarray(values, dtype=float)
    if place.ndim != 1 or place.shape != height.shape:
        raise InputError(f"profile has shapes {place.shape} and {height.shape}; expected (n,)")
    finite = np.isfinite(height)
    place, height = place[finite], height[finite]
    if len(height) < LEAST_POINTS:
        raise InputError(f"{len(height)} values on the line; a fit takes {LEAST_POINTS}")
    if not (np.diff(place) > 0).all():
        raise InputError("the distances of the profile do not ascend")
    if not np.ptp(height) > 1e-9 * np.abs(height).max():
        raise InputError("the profile is flat")
    return _fit(place, height)


def _fit(place: NDArray[np.float64], height: NDArray[np.float64]) -> Peak:
    base = float(np.median(height))
    top = int(np.argmax(np.abs(height - base)))
    half_width, near = _half_width(place, np.sign(height[top] - base) * height, top)
    place, height = place[near], height[near]
    # Scaled to be of order 1: counts and metres would make the steps of the fit uneven.
    middle, spread = place[top - near.start], max(half_width, 1e-300)
    level, unit = base, float(np.ptp(height))
    x, y = (place - middle) / spread, (height - level) / unit
    start = [0.0, 2 / FWHM_OF_SIGMA, float(y[top - near.start]), 0.0]
    lowest, highest = float(x[0]), float(x[-1])
    limits = (
        [lowest, (highest - lowest) / (10 * len(x)), -np.inf, -np.inf],
        [highest, highest - lowest, np.inf, np.inf],
    )
    start[1] = float(np.clip(start[1], limits[0][1], limits[1][1]))
    try:
        found, _ = curve_fit(_gaussian, x, y, start, bounds=limits, maxfev=2000)
    except (RuntimeError, ValueError, OptimizeWarning) as error:
        raise InputError("no Gaussian fits the profile") from error
    center, sigma, amplitude, offset = (float(value) for value in found)
    margin = 1e-3 * (highest - lowest)
    inside = lowest + margin < center < highest - margin
    if FWHM_OF_SIGMA * sigma > highest - lowest or not inside:
        raise InputError("the peak is wider than the line, or at its end")
    residual = float(((y - _gaussian(x, *found)) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    return Peak(
        center=float(middle + spread * center),
        sigma=float(spread * sigma),
        amplitude=unit * amplitude,
        offset=level + unit * offset,
        low=float(place[0]),
        high=float(place[-1]),
        r_squared=1 - residual / total if total > 0 else 0.0,
    )


def _half_width(
    place: NDArray[np.float64], height: NDArray[np.float64], top: int
) -> tuple[float, slice]:
    """Return half the width at half height of a peak that points up, and what is near it.

    Half height is half way to the lowest value, and the nearer flank counts: the other one
    may belong to a neighbour as well.
    """
    half = (height[top] + height.min()) / 2
    below = np.flatnonzero(height < half)
    left, right = below[below < top], below[below > top]
    flanks = []
    if left.size:
        flanks.append(place[top] - place[left[-1]])
    if right.size:
        flanks.append(place[right[0]] - place[top])
    width = float(min(flanks)) if flanks else float(place[-1] - place[0])
    first = int(np.searchsorted(place, place[top] - REACH * width))
    last = int(np.searchsorted(place, place[top] + REACH * width, side="right"))
    # Enough of them for four parameters, also for a peak of a single pixel.
    first = max(min(first, top - LEAST_POINTS // 2), 0)
    last = min(max(last, top + LEAST_POINTS // 2 + 1, first + LEAST_POINTS), len(place))
    return width, slice(min(first, last - LEAST_POINTS), last)


def _gaussian(
    place: NDArray[np.float64], center: float, sigma: float, amplitude: float, offset: float
) -> NDArray[np.float64]:
    curve: NDArray[np.float64] = offset + amplitude * np.exp(
        -((place - center) ** 2) / (2 * sigma**2)
    )
    return curve
