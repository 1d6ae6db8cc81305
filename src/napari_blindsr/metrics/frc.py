"""Fourier ring correlation: up to which frequency two images of one specimen agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft2, fftfreq
from scipy.ndimage import median_filter

from napari_blindsr.errors import InputError
from napari_blindsr.types import CRITERIA, Criterion

if TYPE_CHECKING:
    from numpy.typing import NDArray


SMALLEST_SIDE = 32
FIRST_RING = 2
"""Rings before are the taper's, not the images'."""

SENSIBLE = 0.75
"""Thresholds above, in rings of a few samples, mean nothing."""


@dataclass(frozen=True, kw_only=True)
class RingCorrelation:
    """A Fourier ring correlation.

    Attributes
    ----------
    frequency : ndarray, (n,)
        In cycles a pixel.
    correlation : ndarray, (n,)
        Of each ring, from −1 to 1.
    threshold : ndarray, (n,)
        Least correlation that counts as agreement.
    criterion : {"one-seventh", "half-bit", "three-sigma"}
    limit : float
        Highest frequency.
    cutoff : float or None
        Where the correlation, as the median of three rings, first falls below the threshold;
        None if it does not.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    threshold: NDArray[np.float64]
    criterion: Criterion
    limit: float
    cutoff: float | None

    @property
    def resolution(self) -> float:
        """1 / cutoff in pixels.

        Raises
        ------
        InputError
            If the images agree up to the highest frequency.
        """
        if self.cutoff is None:
            raise InputError(
                f"the images agree up to the highest frequency; the resolution is finer than "
                f"{1 / self.limit:.3g} pixels"
            )
        return 1 / self.cutoff


def ring_correlation(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    criterion: Criterion = "one-seventh",
) -> RingCorrelation:
    """Return the Fourier ring correlation of two acquisitions (H, W) with independent noise.

    Saxton & Baumeister, J. Microsc. 127:127 (1982); the fixed threshold of 1/7 as in
    Nieuwenhuizen et al., Nature Methods 10:557 (2013); half a bit and three sigma as in van
    Heel & Schatz, J. Struct. Biol. 151:250 (2005).
    """
    _check(first, second, criterion)
    rings = _Rings(first.shape)
    return rings.curve([rings.correlate(_spectrum(first), _spectrum(second))], criterion)


def half_image_correlation(
    image: NDArray[np.float64], *, criterion: Criterion = "one-seventh"
) -> RingCorrelation:
    """Return the Fourier ring correlation of the halves of an image (H, W).

    Its pixels are dealt out along diagonals, as by Koho et al., Nature Communications 10:3103
    (2019): even rows and columns against odd ones, and the other two quarters against each
    other; both curves are averaged. The halves lie half of one of their pixels apart along both
    axes, which is taken out of their spectra. The calibration that Koho et al. measured for their
    microscopes is not applied.

    Pixels must have independent noise: a camera's image, not one that was interpolated, smoothed or
    restored. Frequencies reach half of its Nyquist frequency.
    """
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    quarters = {(r, c): even[r::2, c::2] for r in (0, 1) for c in (0, 1)}
    _check(quarters[0, 0], quarters[1, 1], criterion)
    rings = _Rings(quarters[0, 0].shape)
    spectra = {corner: _spectrum(q) * rings.ramp(corner) for corner, q in quarters.items()}
    pairs = [
        rings.correlate(spectra[0, 0], spectra[1, 1]),
        rings.correlate(spectra[0, 1], spectra[1, 0]),
    ]
    return rings.curve(pairs, criterion, pixel=2.0)


def _check(first: NDArray[np.float64], second: NDArray[np.float64], criterion: Criterion) -> None:
    if criterion not in CRITERIA:
        raise InputError(f"criterion is {criterion!r}; expected one of {list(CRITERIA)}")
    if first.shape != second.shape:
        raise InputError(
            f"the two acquisitions have shapes {first.shape} and {second.shape}; expected the same"
        )
    if min(first.shape) < SMALLEST_SIDE:
        raise InputError(
            f"images of {first.shape[0]} × {first.shape[1]} pixels are too small for a Fourier "
            f"ring correlation; expected at least {SMALLEST_SIDE} a side"
        )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise InputError("one of the images is constant; expected something to correlate")


def _spectrum(plane: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the spectrum of a plane that is tapered to its borders."""
    taper = np.outer(*(np.hanning(side + 2)[1:-1] for side in plane.shape))
    result: NDArray[np.complex128] = fft2((plane - np.average(plane, weights=taper)) * taper)
    return result


class _Rings:
    """The rings of a spectrum, each a sample of the longer frequency axis' coarser one wide."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._axes = np.meshgrid(*(fftfreq(side) for side in shape), indexing="ij")
        self._width = 1 / min(shape)
        self._index = np.rint(np.hypot(*self._axes) / self._width).astype(int)
        # Beyond, rings are no longer whole.
        self._count = min(shape) // 2

    def ramp(self, corner: tuple[int, int]) -> NDArray[np.complex128]:
        """Return what takes half a pixel for each odd row and column out of a spectrum."""
        turns = sum(0.5 * start * axis for start, axis in zip(corner, self._axes, strict=True))
        result: NDArray[np.complex128] = np.exp(-2j * np.pi * np.asarray(turns))
        return result

    def correlate(
        self, first: NDArray[np.complex128], second: NDArray[np.complex128]
    ) -> NDArray[np.float64]:
        shared = self._sum((first * second.conj()).real)
        powers = self._sum(np.abs(first) ** 2) * self._sum(np.abs(second) ** 2)
        result: NDArray[np.float64] = shared / np.sqrt(np.maximum(powers, np.finfo(float).tiny))
        return result

    def curve(
        self, correlations: list[NDArray[np.float64]], criterion: Criterion, *, pixel: float = 1.0
    ) -> RingCorrelation:
        """Return the mean of some correlations; pixels of the halves are `pixel` wide."""
        chosen = slice(FIRST_RING, self._count + 1)
        sizes = self._sum(np.ones(self._index.shape))[chosen]
        correlation = np.mean(correlations, axis=0)[chosen]
        steps = np.arange(FIRST_RING, self._count + 1, dtype=np.float64)
        frequency: NDArray[np.float64] = steps * self._width / pixel
        threshold = _threshold(criterion, sizes)
        return RingCorrelation(
            frequency=frequency,
            correlation=correlation,
            threshold=threshold,
            criterion=criterion,
            limit=float(frequency[-1]),
            # The median does away with single rings, and leaves an edge where it is.
            cutoff=_crossing(frequency, median_filter(correlation, 3), threshold),
        )

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(self._index.ravel(), weights=values.ravel())
        return np.asarray(sums[: self._count + 1], dtype=np.float64)


def _threshold(criterion: Criterion, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what counts as agreement in rings of so many samples."""
    if criterion == "one-seventh":
        return np.full(sizes.shape, 1 / 7)
    # The spectrum of a real image says everything twice.
    root = np.sqrt(sizes / 2)
    if criterion == "three-sigma":
        return np.asarray(np.minimum(3 / root, 1))
    return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))


def _crossing(
    frequency: NDArray[np.float64], values: NDArray[np.float64], threshold: NDArray[np.float64]
) -> float | None:
    """Return where values first fall below a threshold, between two rings."""
    difference = values - threshold
    below = np.flatnonzero((difference < 0) & (threshold < SENSIBLE))
    if not below.size:
        return None
    last = int(below[0])
    if last == 0:
        return float(frequency[0])
    before, after = difference[last - 1], difference[last]
    part = float(before / (before - after))
    return float(frequency[last - 1] + part * (frequency[last] - frequency[last - 1]))
