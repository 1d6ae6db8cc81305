"""Decorrelation analysis: up to which frequency one image holds more than noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft2, fftfreq
from scipy.signal.windows import tukey

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SIDE = 32
RADII = 50
FILTERS = 10
NARROWEST = 0.15
"""Standard deviation in px of the last high-pass filter's Gaussian."""

TAPER = 0.1
"""Part of each side that falls off to the borders."""

SIGNIFICANT = 0.001
"""Least height of a peak above the lowest point that follows it."""

FAINTEST = 0.05
"""Least height of a peak that counts."""


@dataclass(frozen=True, kw_only=True)
class Decorrelation:
    """The decorrelation analysis of an image.

    Attributes
    ----------
    frequency : ndarray, (n,)
        Radii of the mask in cycles a pixel.
    curves : ndarray, (1 + m, n)
        Correlation of the image with its normalised spectrum within each radius: of the image
        itself, then of high-passed versions of it, the weakest filter first.
    peaks : ndarray, (1 + m, 2)
        Frequency and height of each curve's peak; 0, 0 where there is none.
    cutoff : float
        The highest frequency of a peak.
    """

    frequency: NDArray[np.float64]
    curves: NDArray[np.float64]
    peaks: NDArray[np.float64]
    cutoff: float

    @property
    def resolution(self) -> float:
        """1 / cutoff in pixels."""
        return 1 / self.cutoff


def decorrelation(image: NDArray[np.float64]) -> Decorrelation:
    """Return the decorrelation analysis of an image (H, W).

    Descloux, Grußmayer & Radenovic, Nature Methods 16:918 (2019), with the numbers given
    there: 50 radii, the image and 10 high-pass filters, and a second, finer search around the first
    result.

    Raises
    ------
    InputError
        If the image is too small, or no curve has a peak.
    """
    if min(image.shape) < SMALLEST_SIDE:
        raise InputError(
            f"an image of {image.shape[0]} × {image.shape[1]} pixels is too small for "
            f"decorrelation analysis; expected at least {SMALLEST_SIDE} a side"
        )
    rings = _Rings(image)
    radii = np.linspace(0, 1, RADII)
    unfiltered = rings.curve(radii, None)
    first = _peak(radii, unfiltered)
    widest = 2 / first[0] if first[0] > 0 else min(image.shape) / 2
    sigmas = [min(image.shape) / 4, *np.geomspace(widest, NARROWEST, FILTERS)]
    curves = [rings.curve(radii, sigma) for sigma in sigmas]
    peaks = [_peak(radii, curve) for curve in curves]
    best = int(np.argmax([radius for radius, _ in peaks]))
    radius = max(first[0], peaks[best][0])
    if radius == 0:
        raise InputError("decorrelation analysis finds no peak; the image holds noise alone")
    refined = _refine(rings, sigmas, best, radius)
    found = max(radius, *(peak for peak, _ in refined)) if refined else radius
    return Decorrelation(
        frequency=radii / 2,
        curves=np.stack([unfiltered, *curves]),
        peaks=np.array([first, *peaks]) * [0.5, 1],
        cutoff=found / 2,
    )


def _refine(
    rings: _Rings, sigmas: list[float], best: int, radius: float
) -> list[tuple[float, float]]:
    """Repeat the search with filters and radii around the first result."""
    step = 1 / (RADII - 1)
    radii = np.linspace(max(radius - step, 0), min(radius + 0.4, 1), RADII)
    strong = sigmas[min(best + 1, len(sigmas) - 1)]
    weak = sigmas[max(best - 1, 0)]
    return [_peak(radii, rings.curve(radii, s)) for s in np.geomspace(weak, strong, FILTERS)]


class _Rings:
    """A spectrum summed up in fine rings, which is all that curves and filters need."""

    FINENESS = 4

    def __init__(self, image: NDArray[np.float64]) -> None:
        taper = np.outer(*(tukey(side, 2 * TAPER) for side in image.shape))
        centred = (image - np.average(image, weights=taper)) * taper
        if not centred.any():
            raise InputError("the image is constant; expected something to analyse")
        amplitude = np.abs(fft2(centred)).ravel()
        axes = np.meshgrid(*(2 * fftfreq(side) for side in image.shape), indexing="ij")
        radius = np.hypot(*axes).ravel()
        inside = radius <= 1
        count = self.FINENESS * max(image.shape)
        index = np.minimum((radius[inside] * count).astype(int), count - 1)

        def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
            sums = np.bincount(index, values[inside], minlength=count)
            return np.asarray(sums, dtype=np.float64)

        self._edges = np.arange(count + 1) / count
        self._middles = (self._edges[1:] + self._edges[:-1]) / 2
        self._samples = total(np.ones_like(amplitude))
        self._amplitude, self._power = total(amplitude), total(amplitude**2)

    def curve(self, radii: NDArray[np.float64], sigma: float | None) -> NDArray[np.float64]:
        """Return the correlation within each radius, of the high-passed image."""
        passed = np.ones_like(self._middles)
        if sigma is not None:
            passed = 1 - np.exp(-2 * (sigma * self._middles) ** 2)
        power = float((self._power * passed**2).sum())
        shared = np.concatenate(([0.0], np.cumsum(self._amplitude * passed)))
        samples = np.concatenate(([0.0], np.cumsum(self._samples)))
        at = [np.interp(radii, self._edges, values) for values in (shared, samples)]
        result: NDArray[np.float64] = at[0] / np.sqrt(
            np.maximum(power * at[1], np.finfo(float).tiny)
        )
        return result


def _peak(radii: NDArray[np.float64], curve: NDArray[np.float64]) -> tuple[float, float]:
    """Return radius and height of the highest peak that is none of the curve's end."""
    values = curve.copy()
    length = len(values)
    while length > 1:
        index = int(np.argmax(values[:length]))
        if index == length - 1:
            length -= 1
            continue
        lowest = float(curve[index:].min())
        if values[index] - lowest > SIGNIFICANT:
            if values[index] < FAINTEST:
                return 0.0, 0.0
            return float(radii[index]), float(values[index])
        values[index] = lowest
        length -= 1
    return 0.0, 0.0
