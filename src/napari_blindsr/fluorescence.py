"""A fluorescence image made in code: cells whose every photon is known, and a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_blindsr.errors import SettingsError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

BACKGROUND = 12.0
NUCLEUS = 90.0
FILAMENT = 260.0
VESICLE = (300.0, 1400.0)
STRUCTURE_SIGMA = 0.8
"""Half-width of filaments and vesicles in px; thinner ones would alias."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera with shot noise, read noise and an offset.

    Attributes
    ----------
    counts_per_photon : float
    offset : float
        Counts in the dark.
    read_noise : float
        Standard deviation, in photons.
    """

    counts_per_photon: float = 2.0
    offset: float = 100.0
    read_noise: float = 1.5

    def counts(self, photons: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the expected counts of expected photons."""
        return np.asarray(self.offset + self.counts_per_photon * photons, dtype=np.float32)

    def expose(self, photons: NDArray[np.floating], *, seed: int) -> NDArray[np.uint16]:
        """Return a picture taken of expected photons, with Poisson and Gaussian noise."""
        rng = np.random.default_rng(seed)
        arrived = rng.poisson(np.maximum(photons, 0))
        read = arrived + rng.normal(0, self.read_noise, photons.shape)
        limits = np.iinfo(np.uint16)
        counts = np.rint(self.offset + self.counts_per_photon * read)
        return np.asarray(np.clip(counts, limits.min, limits.max), dtype=np.uint16)


def fluorescent_cells(shape: tuple[int, int], *, seed: int) -> NDArray[np.float64]:
    """Return the expected photons of nuclei, filaments and vesicles.

    Parameters
    ----------
    shape : tuple of int
        (H, W), at least 32 a side.
    seed : int

    Returns
    -------
    ndarray, (H, W)
        Photons a pixel, positive.
    """
    if min(shape) < 32:
        raise SettingsError(f"shape is {shape}; expected at least 32 pixels a side")
    rng = np.random.default_rng(seed)
    area = shape[0] * shape[1]
    photons = np.full(shape, BACKGROUND)
    for _ in range(max(1, round(area / 25000))):
        photons += _nucleus(shape, rng)
    structures = np.zeros(shape)
    for _ in range(max(4, round(area / 2500))):
        _draw_filament(structures, rng)
    for _ in range(max(6, round(area / 900))):
        _draw_vesicle(structures, rng)
    return np.asarray(photons + gaussian_filter(structures, STRUCTURE_SIGMA, mode="constant"))


def _nucleus(shape: tuple[int, int], rng: Generator) -> NDArray[np.float64]:
    """Return a textured ellipse with a soft edge."""
    rows, columns = np.indices(shape, dtype=float)
    y, x = rows - rng.uniform(0, shape[0]), columns - rng.uniform(0, shape[1])
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    radii = rng.uniform(22, 34), rng.uniform(16, 22)
    radius = np.hypot(along / radii[0], across / radii[1])
    texture = 1 + 4 * gaussian_filter(rng.normal(size=shape), 3)
    edge = 1 / (1 + np.exp((radius - 1) * 16))
    return np.asarray(NUCLEUS * edge * np.clip(texture, 0.3, 2))


def _draw_filament(image: NDArray[np.float64], rng: Generator) -> None:
    """Draw a curve whose direction changes slowly."""
    steps = 4 * int(rng.uniform(60, 220))
    length = 0.25
    turns = gaussian_filter(rng.normal(size=steps), 40, mode="nearest")
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(0.15 * turns)
    row = rng.uniform(0, image.shape[0]) + length * np.cumsum(np.sin(angles))
    column = rng.uniform(0, image.shape[1]) + length * np.cumsum(np.cos(angles))
    # Blurring a line of one photon a pixel leaves a peak of 1/(σ√2π).
    peak = FILAMENT * rng.uniform(0.4, 1.0) * STRUCTURE_SIGMA * np.sqrt(2 * np.pi)
    _splat(image, row, column, peak * length)


def _draw_vesicle(image: NDArray[np.float64], rng: Generator) -> None:
    """Draw a point."""
    peak = rng.uniform(*VESICLE) * 2 * np.pi * STRUCTURE_SIGMA**2
    where = np.array([rng.uniform(0, side) for side in image.shape])
    _splat(image, where[:1], where[1:], peak)


def _splat(
    image: NDArray[np.float64],
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    weight: float,
) -> None:
    """Add points between pixels to the four pixels around each, bilinearly."""
    inside = (row >= 0) & (row < image.shape[0] - 1) & (column >= 0) & (column < image.shape[1] - 1)
    row, column = row[inside], column[inside]
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    down, right = row - top, column - left
    np.add.at(image, (top, left), weight * (1 - down) * (1 - right))
    np.add.at(image, (top, left + 1), weight * (1 - down) * right)
    np.add.at(image, (top + 1, left), weight * down * (1 - right))
    np.add.at(image, (top + 1, left + 1), weight * down * right)
