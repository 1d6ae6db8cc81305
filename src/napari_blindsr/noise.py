"""How much noise an image has, read off the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import convolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 8
QUANTILE = 0.1
# What the quantile of blocks of pure noise is, in units of its standard deviation; measured.
QUANTILE_OF_NOISE = 0.8


def estimate_noise(planes: NDArray[np.float32], measured: NDArray[np.bool_] | None = None) -> float:
    """Return the standard deviation of the noise.

    The residual of a 3 × 3 Laplacian difference, which cancels planes and edges along the
    axes (Immerkær, 1996), in blocks of 8 × 8 pixels, of which the least textured tenth counts:
    at low resolution, detail as fine as a pixel is the rule, and the median of the whole image
    would take it for noise.

    Parameters
    ----------
    planes : ndarray, (C, h, w)
    measured : ndarray, bool, (h, w), optional
        Pixels that count, with their neighbours.

    Returns
    -------
    float
        In the unit of the planes; the root mean square over channels. 0 if no measured pixel
        has only measured neighbours, so that nothing tells.
    """
    difference = np.array([1.0, -2.0, 1.0])
    laplacian = np.outer(difference, difference) / 6
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
        power = np.where(usable, convolve(plane, laplacian, mode="nearest") ** 2, 0)
        blocks = _block_sums(power)[whole] / counts[whole]
        variances.append(np.quantile(np.sqrt(blocks), QUANTILE) ** 2)
    return float(np.sqrt(np.mean(variances)) / QUANTILE_OF_NOISE)


def _block_sums(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum blocks of a plane; those at the lower and right border may be cut."""
    rows = np.arange(0, plane.shape[0], BLOCK)
    columns = np.arange(0, plane.shape[1], BLOCK)
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(plane, rows), columns, axis=1)
    return sums
