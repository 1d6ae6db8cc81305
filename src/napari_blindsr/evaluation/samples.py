"""Samples that need no download, with true image and kernel: pictures, and simulated cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr.errors import SettingsError
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from napari_blindsr.types import Geometry


SCALE = 4


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A degraded image (h, w) or (h, w, 3), its true image and its kernel (K, K), of sum 1.

    Attributes
    ----------
    label : str
        Name in a menu.
    truth : ndarray, (s·h, s·w) or (s·h, s·w, 3)
        In the unit of the image.
    offset : float
        δ: low-resolution pixel i lies at pixel s·i + δ of the truth.
    pixel_size : float or None
        Side of a low-resolution pixel in µm, or None if it has no known size.
    origin : str
        Where the sharp image comes from.
    """

    name: str
    label: str
    image: NDArray[Any]
    truth: NDArray[Any]
    kernel: NDArray[np.float32]
    scale: int
    geometry: Geometry
    offset: float
    pixel_size: float | None
    origin: str


def fluorescence() -> Sample:
    """Return simulated cells, as a cooled camera would show them; 16 bit, 64×64 pixels."""
    kernel = gaussian_kernel((7.0, 5.0), 0.5, scale=SCALE)
    margin = kernel.shape[0] // 2
    side = 64 * SCALE + 2 * margin
    degraded = degrade(fluorescent_cells((side, side), seed=5), kernel, Degradation(scale=SCALE))
    camera = Camera()
    return Sample(
        name="fluorescence",
        label="Fluorescence, simulated (grey, 16 bit)",
        image=camera.expose(degraded.image, seed=6),
        truth=camera.counts(degraded.truth),
        kernel=degraded.kernel,
        scale=SCALE,
        geometry="camera",
        offset=degraded.offset,
        pixel_size=0.26,
        origin="simulated",
    )


def micrograph() -> Sample:
    """Return stained tissue under a bright-field microscope; RGB, 64×64 pixels.

    The source does not state the size of its pixels; 0.5 µm, that of a slide scanner with a
    20× objective, is an assumption.
    """
    return degraded_piece(
        name="micrograph",
        label="Micrograph, stained tissue (RGB)",
        sharp=data.immunohistochemistry(),
        corner=(200, 150),
        variances=(6.0, 4.0),
        angle=1.2,
        pixel_size=0.5 * SCALE,
        origin="skimage.data.immunohistochemistry",
    )


def photograph() -> Sample:
    """Return a photograph of a man with a camera; grey, 64×64 pixels.

    The networks that ship were not trained on it, as they were on scikit-image's colour
    photographs.
    """
    return degraded_piece(
        name="photograph",
        label="Photograph (grey)",
        sharp=data.camera(),
        corner=(40, 120),
        variances=(8.0, 4.0),
        angle=2.2,
        pixel_size=None,
        origin="skimage.data.camera",
    )


def degraded_piece(
    *,
    name: str,
    label: str,
    sharp: NDArray[np.uint8],
    corner: tuple[int, int],
    variances: tuple[float, float],
    angle: float,
    pixel_size: float | None,
    origin: str,
    side: int = 64,
) -> Sample:
    """Cut a piece out of a sharp 8-bit image and degrade it by a Gaussian, ×4, to 8 bit.

    The piece has 4·side + 18 pixels from `corner` (row, column). `variances` are λ1, λ2 of the
    blur in px² of the sharp image; `angle` is θ in radians.
    """
    kernel = gaussian_kernel(variances, angle, scale=SCALE)
    length = side * SCALE + 2 * (kernel.shape[0] // 2)
    rows, columns = (slice(start, start + length) for start in corner)
    degraded = degrade(sharp[rows, columns], kernel, Degradation(scale=SCALE, quantise=True))
    return Sample(
        name=name,
        label=label,
        image=degraded.image,
        truth=np.rint(255 * degraded.truth).astype(np.uint8),
        kernel=degraded.kernel,
        scale=SCALE,
        geometry="camera",
        offset=degraded.offset,
        pixel_size=pixel_size,
        origin=origin,
    )


SAMPLES: tuple[Callable[[], Sample], ...] = (fluorescence, micrograph, photograph)
"""Functions that each return one sample; the tests run over them."""

BACKGROUND = 12.0
NUCLEUS = 90.0
FILAMENT = 260.0
VESICLE = (300.0, 1400.0)
STRUCTURE_SIGMA = 0.8
"""Half-width of filaments and vesicles in px; thinner ones would alias."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera with shot noise, read noise (SD in photons) and an offset (counts in the dark)."""

    counts_per_photon: float = 2.0
    offset: float = 100.0
    read_noise: float = 1.5

    def counts(self, photons: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the expected counts of expected photons."""
        return np.asarray(self.offset + self.counts_per_photon * photons, dtype=np.float32)

    def expose(self, photons: NDArray[np.floating], *, seed: int) -> NDArray[np.uint16]:
        """Return an exposure of expected photons, with Poisson and Gaussian noise."""
        rng = np.random.default_rng(seed)
        arrived = rng.poisson(np.maximum(photons, 0))
        read = arrived + rng.normal(0, self.read_noise, photons.shape)
        limits = np.iinfo(np.uint16)
        counts = np.rint(self.offset + self.counts_per_photon * read)
        return np.asarray(np.clip(counts, limits.min, limits.max), dtype=np.uint16)


def fluorescent_cells(shape: tuple[int, int], *, seed: int) -> NDArray[np.float64]:
    """Return the expected photons per pixel of nuclei, filaments and vesicles."""
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
        # Points.
        peak = rng.uniform(*VESICLE) * 2 * np.pi * STRUCTURE_SIGMA**2
        where = np.array([rng.uniform(0, side) for side in shape])
        _splat(structures, where[:1], where[1:], peak)
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
