"""Estimate the noise of an image: level, kind, and shot noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, uniform_filter

from napari_blindsr.images.planes import canonical

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


LAPLACIAN = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6
"""A difference that cancels planes and edges along the axes (Immerkær, 1996)."""

BLOCK = 8
QUANTILE = 0.1
# Measured: the quantile of blocks of pure noise, in units of its standard deviation.
QUANTILE_OF_NOISE = 0.8


def estimate_noise(planes: NDArray[np.float32], measured: NDArray[np.bool_] | None = None) -> float:
    """Return the standard deviation of the noise of planes (C, h, w), the RMS over channels.

    The residual of a 3 × 3 Laplacian difference (Immerkær, 1996), in blocks of 8 × 8 pixels, of
    which the least textured tenth counts: low-resolution images have detail as fine as a pixel, so
    that the median of the whole image would be too large. 0 if no valid pixel has only valid
    neighbours.
    """
    turn = canonical(planes)
    planes = turn.apply(planes)
    measured = None if measured is None else turn.apply(measured)
    usable = np.ones(planes.shape[1:], dtype=bool)
    usable[[0, -1]] = usable[:, [0, -1]] = False
    if measured is not None:
        usable &= convolve((~measured).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    if not usable.any():
        return 0.0
    counts = _block_sums(usable.astype(np.float64))
    # Blocks that are mostly cut off or covered vary too much to be compared with whole ones.
    whole = counts >= BLOCK * BLOCK / 2
    if not whole.any():
        whole = counts == counts.max()
    variances = []
    for plane in planes.astype(np.float64):
        power = np.where(usable, convolve(plane, LAPLACIAN, mode="nearest") ** 2, 0)
        blocks = _block_sums(power)[whole] / counts[whole]
        variances.append(np.quantile(np.sqrt(blocks), QUANTILE) ** 2)
    return float(np.sqrt(np.mean(variances)) / QUANTILE_OF_NOISE)


JPEG_BLOCK = 8


def blocking(plane: NDArray[np.floating]) -> float:
    """Return how much stronger steps are at the borders of JPEG's blocks than elsewhere.

    Third differences, which cancel smooth intensities, are averaged along rows and columns; the
    strongest of the eight phases is compared with the others. The result is a logarithm, about 0.1
    or less for an image (h, w) that was never compressed.
    """
    logarithms = []
    for image in (plane, plane.T):
        third = np.abs(image[3:] - 3 * image[2:-1] + 3 * image[1:-2] - image[:-3]).mean(axis=1)
        if len(third) < 2 * JPEG_BLOCK:
            return 0.0
        whole = len(third) // JPEG_BLOCK * JPEG_BLOCK
        phases = np.median(third[:whole].reshape(-1, JPEG_BLOCK), axis=0)
        order = np.sort(phases)
        logarithms.append(np.log((order[-1] + 1e-9) / (np.median(order) + 1e-9)))
    return float(np.mean(logarithms))


UNCOMPRESSED = 0.3
"""Largest `blocking` of an image that is not JPEG."""

TEXTURE = 10
"""Numbers that describe the texture of the noise at one resolution."""

STATISTICS = 4 + 3 * TEXTURE
"""Numbers that describe the noise of an image."""

BLOCKING = 2
"""Which of them is the `blocking`."""

SHARED = (0.1, 0.4, 0.75)
"""Quantiles of the blocks' deviations: noise is everywhere, detail is not."""


def noise_statistics(plane: NDArray[np.floating], noise: float) -> NDArray[np.float32]:
    """Return numbers without units that describe the kind of noise of a plane (h, w).

    The logarithm of the noise in units of the root mean square of the image's differences; that of
    the noise of the mean of 2 × 2 pixels over that of white noise; the `blocking`; that of the
    contrast. Then the texture of the residuals of the image, of its means of 2 × 2 and of 4 × 4
    pixels, by which correlated noise differs from detail.
    """
    image = np.asarray(plane, dtype=np.float32)
    image = canonical(image[None]).apply(image)
    power = [np.mean(np.square(np.diff(image, axis=axis))) for axis in (0, 1)]
    slope = float(np.sqrt(np.mean(power))) + 1e-12
    coarse = estimate_noise(halved(image)[None])
    ratio = np.log((2 * coarse + 1e-4 * slope) / (noise + 1e-4 * slope))
    numbers = [
        np.log(noise / slope + 1e-3) / 3,
        np.clip(ratio, -2, 4),
        np.clip(blocking(image), 0, 3),
        np.log(image.std() / slope + 1e-3),
    ]
    for side in (1, 2, 4):
        numbers += _texture(image, slope, side)
        image = halved(image)
    return np.asarray(numbers, dtype=np.float32).clip(-8, 8)


def _texture(plane: NDArray[np.float32], slope: float, side: int) -> list[float]:
    """Return ten numbers that describe the residuals, in blocks, of means of some pixels (h, w)."""
    residuals, tiles = _blocks(plane)
    if not len(residuals):
        return [0.0] * TEXTURE
    deviations = np.sqrt(np.mean(np.square(residuals), axis=(1, 2))) + 1e-4 * slope
    low, middle, high = np.quantile(deviations, SHARED)
    quiet = deviations <= np.median(deviations)
    inside = residuals[quiet] / deviations[quiet, None, None]

    def alike(rows: int, columns: int) -> float:
        first = inside[:, rows:, columns:]
        return float(np.mean(first * inside[:, : BLOCK - rows, : BLOCK - columns]))

    return [
        float(np.log(side * low / slope)),
        float(np.log(middle / low)),
        float(np.log(high / low)),
        float(np.log(np.mean(inside**4) + 1e-3)),
        (alike(0, 1) + alike(1, 0)) / 2,
        (alike(0, 2) + alike(2, 0)) / 2,
        alike(1, 1),
        _correlation(tiles.mean(axis=(1, 2)), np.log(deviations)),
        float(np.log(np.sqrt(np.mean(np.square(deviations))) / low)),
        float(np.log(deviations.min() / low)),
    ]


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the correlation of two quantities, 0 if it is not defined."""
    if len(first) < 4 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 2 × 2 pixels, without an odd last row or column."""
    height, width = (side // 2 * 2 for side in plane.shape)
    quarters = plane[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.ascontiguousarray(quarters.mean(axis=(1, 3)))


def _blocks(plane: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the Laplacian residuals and the pixels of whole blocks, (n, 8, 8) each."""
    if min(plane.shape) < BLOCK + 2:
        return np.empty((0, BLOCK, BLOCK)), np.empty((0, BLOCK, BLOCK), np.float32)
    residual = convolve(plane.astype(np.float64), LAPLACIAN, mode="nearest")[1:-1, 1:-1]
    rows, columns = (side // BLOCK for side in residual.shape)

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        tiles = values[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
        return tiles.swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)

    return cut(residual), cut(plane[1:-1, 1:-1])


SMOOTHING = 1.0
"""Standard deviation in pixels of the Gaussian filter before a range is taken."""


def smooth_range(
    plane: NDArray[np.floating], measured: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the darkest and the brightest intensity of an image, without its noise."""
    known = measured is not None and bool(measured.any())
    whole = _filled(plane, measured) if known and measured is not None else plane
    smooth = gaussian_filter(np.asarray(whole, dtype=np.float64), SMOOTHING, mode="nearest")
    if known:
        smooth = smooth[measured]
    low, high = float(smooth.min()), float(smooth.max())
    return low, high if high > low else low + 1.0


def noise_over_range(
    planes: NDArray[np.float32], measured: NDArray[np.bool_] | None = None
) -> float:
    """Return the noise of planes (C, h, w), over the mean of their ranges of intensities."""
    ranges = [high - low for low, high in (smooth_range(plane, measured) for plane in planes)]
    return estimate_noise(planes, measured) / float(np.mean(ranges))


def _filled(plane: NDArray[np.floating], measured: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return a plane whose missing pixels have the mean of the valid ones around them."""
    for width in (1.0, 4.0, 16.0, 64.0):
        weights = gaussian_filter(measured.astype(np.float64), width, mode="nearest")
        if weights.min() > 1e-3:
            break
    values = gaussian_filter(np.where(measured, plane, 0).astype(np.float64), width, mode="nearest")
    filled = np.where(measured, plane, values / np.maximum(weights, 1e-12))
    return np.asarray(filled, dtype=plane.dtype)


LEVELS = 12
"""Number of intensity ranges in which noise is estimated."""

FEWEST = 24
"""Smallest number of pixels in such a range."""

QUARTILE_OF_NOISE = 0.3186
"""First quartile of the absolute value of a normal variable, over its standard deviation."""

CONSISTENT = 0.3
"""Smallest ratio of low slopes to the median one in shot noise."""


def shot_noise(
    planes: NDArray[np.float32], measured: NDArray[np.bool_] | None = None
) -> NDArray[np.float32] | None:
    """Return the standard deviation of shot noise in each pixel, (C, h, w).

    The variance of photon noise is a straight line over the intensity. Detail makes the residuals
    larger, never smaller, so the line is fitted to the lower end of the variances in ranges of
    intensity; constant noise and detail give no consistent slope. None if any plane (h, w) has no
    shot noise.
    """
    maps = []
    for plane in planes if measured is None else [_filled(p, measured) for p in planes]:
        base = estimate_noise(plane[None], measured) ** 2
        slope, black = _photon_transfer(plane, measured)
        if slope <= 0:
            return None
        maps.append(noise_map(plane, shot=slope, base=base, black=black))
    return np.stack(maps)


def _photon_transfer(
    plane: NDArray[np.float32], measured: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Return the slope of the variance over the intensity, and the intensity where it starts."""
    residual = np.abs(convolve(plane.astype(np.float64), LAPLACIAN, mode="nearest"))
    smooth = uniform_filter(plane.astype(np.float64), 5, mode="nearest")
    usable = np.ones(plane.shape, dtype=bool)
    usable[[0, -1]] = usable[:, [0, -1]] = False
    if measured is not None:
        usable &= uniform_filter((~measured).astype(np.float64), 5, mode="nearest") < 1e-9
    residual, smooth = residual[usable], smooth[usable]
    if smooth.size < FEWEST:
        return 0.0, 0.0
    low, high = np.quantile(smooth, 0.05), smooth.max()
    place = np.floor((smooth - low) / (high - low + 1e-12) * LEVELS)
    points = []
    for index in range(LEVELS):
        chosen = place == index
        if np.count_nonzero(chosen) >= FEWEST:
            quartile = np.quantile(residual[chosen], 0.25) / QUARTILE_OF_NOISE
            points.append((float(smooth[chosen].mean()), float(quartile) ** 2))
    if not points:
        return 0.0, 0.0
    black, dark = points[0]
    slopes = [
        (variance - dark) / (level - black)
        for level, variance in points[1:]
        if level - black > 0.1 * (high - low)
    ]
    if len(slopes) < 3 or np.quantile(slopes, 0.15) < CONSISTENT * np.median(slopes):
        return 0.0, black
    return float(np.quantile(slopes, 0.25)), black


def noise_map(
    plane: NDArray[np.float32], *, shot: float, base: float, black: float = 0.0
) -> NDArray[np.float32]:
    """Return the standard deviation of a camera's noise in each pixel of a plane (h, w).

    The variance is `base` up to an intensity `black`, and grows with a slope `shot`: 1 over the
    photons of a unit.
    """
    light = np.maximum(uniform_filter(plane, 3, mode="nearest") - black, 0) if shot > 0 else 0.0
    level: NDArray[np.float32] = np.sqrt(shot * light + base) * np.ones_like(plane)
    return level.astype(np.float32)


def _block_sums(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of blocks of 8 × 8 pixels; those at the border may be smaller."""
    rows = np.arange(0, plane.shape[0], BLOCK)
    columns = np.arange(0, plane.shape[1], BLOCK)
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(plane, rows), columns, axis=1)
    return sums


@dataclass(frozen=True, kw_only=True, eq=False)
class ShotNoise:
    """Shot noise, with the level in each pixel.

    Attributes
    ----------
    levels : Tensor, (C, h, w)
        Its standard deviation in each pixel of an image, or of a part of one.
    typical : Tensor, (C,)
        The root mean square of that over the whole image.
    """

    levels: Tensor
    typical: Tensor

    def times(self, factor: float) -> ShotNoise:
        """Return the noise of an image that is brighter by a factor."""
        return ShotNoise(levels=factor * self.levels, typical=factor * self.typical)

    def to(self, device: torch.device) -> ShotNoise:
        """Return the same on a device."""
        return ShotNoise(levels=self.levels.to(device), typical=self.typical.to(device))
