"""Cameras and files: noise, haze, compression, defects and rounding of a blurred image.

Training, samples, simulation and benchmarks share this description.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

JPEG_RANGE = (30, 95)
"""Usual JPEG qualities of files."""


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """The way from a blurred, sampled image in [0, 1] to the recorded one.

    The steps follow each other in the order of the attributes.

    Attributes
    ----------
    photons : float or None
        Photons of a pixel of intensity 1; None for no shot noise.
    read_noise : float
        Standard deviation of the camera's read noise, in photons.
    offset : float
        Intensity of light or dark current that is added to every pixel.
    noise : float
        Standard deviation of further Gaussian noise, as intensity.
    correlation : float
        Standard deviation in pixels of the Gaussian that smooths the noise (resampling,
        demosaicing, binning); the noise keeps its standard deviation.
    sharpening, halo : float
        Strength and radius in pixels of unsharp masking.
    hot, dead : float
        Fraction of pixels at the maximum, and at zero.
    saturation : float
        Largest intensity; infinite for no limit.
    levels : int
        Number of grey levels that the range [0, 1 + offset] is rounded to; 0 for no rounding.
    jpeg : tuple of int
        Qualities of successive JPEG compressions, each 1…100.
    """

    photons: float | None = None
    read_noise: float = 0.0
    offset: float = 0.0
    noise: float = 0.0
    correlation: float = 0.0
    sharpening: float = 0.0
    halo: float = 1.0
    hot: float = 0.0
    dead: float = 0.0
    saturation: float = math.inf
    levels: int = 0
    jpeg: tuple[int, ...] = ()

    def record(self, blurred: NDArray[np.floating], rng: Generator) -> NDArray[np.float32]:
        """Return the recorded image of what reaches the sensor (h, w), mostly in [0, 1]."""
        clean = blurred.astype(np.float64) + self.offset
        image = clean
        if self.photons is not None:
            arrived = rng.poisson(np.maximum(clean, 0) * self.photons)
            image = (arrived + rng.normal(0, self.read_noise, clean.shape)) / self.photons
        if self.noise > 0:
            image = image + rng.normal(0, self.noise, clean.shape)
        if self.correlation > 0:
            image = clean + _correlated(image - clean, self.correlation)
        if self.sharpening > 0:
            image = image + self.sharpening * (image - gaussian_filter(image, self.halo))
        image = self._with_defects(image, rng)
        image = np.minimum(image, self.saturation)
        # The file's white is that of the brightest object on its offset.
        white = 1 + self.offset
        if self.levels > 0:
            steps = np.clip(np.floor(self.levels * image / white), 0, self.levels - 1)
            image = white * steps / max(1, self.levels - 1)
        for quality in self.jpeg:
            image = white * compressed(image / white, quality)
        return image.astype(np.float32)

    def _with_defects(self, image: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        if self.hot <= 0 and self.dead <= 0:
            return image
        draw = rng.random(image.shape)
        high = max(1.0, float(image.max()))
        image = np.where(draw < self.hot, high, image)
        return np.where(draw > 1 - self.dead, 0.0, image)


def _correlated(noise: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Smooth noise, and restore its standard deviation."""
    smooth = gaussian_filter(noise, width)
    return np.asarray(smooth * (noise.std() / (smooth.std() + 1e-12)))


def compressed(image: NDArray[np.floating], quality: int) -> NDArray[np.float64]:
    """Return an image (h, w) or (h, w, 3) in [0, 1] after JPEG compression, with 8 bit."""
    grey = np.asarray(np.rint(255 * np.clip(image, 0, 1)), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=int(quality))
    file.seek(0)
    return np.asarray(Image.open(file), dtype=np.float64) / 255


def haze(shape: tuple[int, int], rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw vignetting, about 1, and background light, at least 0, both smooth, float32, (h, w)."""
    fields = []
    for _ in range(2):
        coarse = gaussian_filter(rng.normal(size=(12, 12)), 2.0)
        coarse = (coarse - coarse.min()) / (np.ptp(coarse) + 1e-9)
        fine = zoom(coarse, (shape[0] / 12, shape[1] / 12), order=1)[: shape[0], : shape[1]]
        fine = np.pad(fine, [(0, n - m) for n, m in zip(shape, fine.shape, strict=True)], "edge")
        fields.append(fine.astype(np.float32))
    return 1 - rng.uniform(0, 0.5) * fields[0], rng.uniform(0, 0.5) * fields[1]


def random_microscope(rng: Generator) -> Acquisition:
    """Draw the acquisition of a fluorescence or bright-field microscope."""
    return Acquisition(
        photons=math.exp(rng.uniform(math.log(20), math.log(5000))),
        read_noise=rng.choice([0.0, 1.5, rng.uniform(0, 6)]),
        offset=rng.choice([0.0, 0.05, rng.uniform(0, 0.5)]),
        correlation=rng.uniform(0.4, 1.2) if rng.random() < 0.25 else 0.0,
        hot=10 ** rng.uniform(-4, -2.5) if rng.random() < 0.02 else 0.0,
        saturation=rng.uniform(0.6, 1) if rng.random() < 0.04 else math.inf,
        levels=int(2 ** rng.integers(5, 9)) if rng.random() < 0.25 else 0,
        jpeg=random_jpeg(rng) if rng.random() < 0.08 else (),
    )


def random_camera(rng: Generator) -> Acquisition:
    """Draw the acquisition of a photograph."""
    strong = rng.random() < 0.4
    compress = rng.random() < 0.42
    return Acquisition(
        noise=math.exp(rng.uniform(math.log(0.002), math.log(0.05))) if strong else 0.0,
        correlation=rng.uniform(0.4, 1.2) if rng.random() < 0.25 else 0.0,
        sharpening=rng.uniform(0.1, 0.6) if rng.random() < 0.05 else 0.0,
        halo=rng.uniform(0.6, 1.5),
        levels=256 if rng.random() < 0.75 else 0,
        jpeg=random_jpeg(rng) if compress else (),
    )


def random_jpeg(rng: Generator) -> tuple[int, ...]:
    """Draw the qualities of one JPEG compression, or of two in a row."""
    return tuple(int(q) for q in rng.integers(*JPEG_RANGE, size=1 + (rng.random() < 0.15)))
