"""The error map of a super-resolved image against its source (NanoJ-SQUIRREL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.registration import fit_intensity

if TYPE_CHECKING:
    from numpy.typing import NDArray

NARROWEST, WIDEST = 0.1, 4.0
"""Standard deviation of the blurs that are searched, in pixels of the source."""

COARSE = 16
"""Standard deviations that are compared before the best one is refined."""


@dataclass(frozen=True, kw_only=True)
class ResolutionScaledError:
    """The fit of a super-resolved image, blurred again, to its source.

    Attributes
    ----------
    error : ndarray, (h, w)
        Absolute difference of the source and the blurred and rescaled result, in each pixel of
        the source; NaN where pixels are missing.
    sigma : float
        Standard deviation of the best blur, in pixels of the source.
    factor, offset : float
        The best intensity scale and offset.
    rse : float
        Resolution-scaled error: root mean square of the error, in the source's intensities.
    rsp : float
        Resolution-scaled Pearson coefficient of source and blurred result.
    """

    error: NDArray[np.float64]
    sigma: float
    factor: float
    offset: float
    rse: float
    rsp: float


def error_map(
    result: NDArray[np.float64],
    source: NDArray[np.float64],
    *,
    offset: float,
    measured: NDArray[np.bool_] | None = None,
) -> ResolutionScaledError:
    """Compare a super-resolved image (s·h, s·w) with its source (h, w).

    Culley et al., Nature Methods 15:263 (2018): the result is blurred by a resolution-scaling
    function, here as there a round Gaussian, and its intensities are scaled and moved; width, scale
    and offset are those with the least squared difference to the source. Pixel i of the source lies
    at pixel s·i + `offset` of the result.

    Raises
    ------
    InputError
        If the shapes do not fit, or one of the images is constant.
    """
    scale = result.shape[0] // source.shape[0]
    if scale < 1 or result.shape != tuple(scale * side for side in source.shape):
        raise InputError(
            f"the result has shape {result.shape} and its source {source.shape}; expected a whole "
            "multiple, the same along both axes"
        )
    chosen = np.ones(source.shape, dtype=bool) if measured is None else measured
    truth = source[chosen]
    if np.ptp(truth) == 0 or np.ptp(result) == 0:
        raise InputError("the result or its source is constant; expected something to compare")

    def fitted(sigma: float) -> tuple[NDArray[np.float64], float, float]:
        return fit_intensity(_blurred(result, scale * sigma, scale, offset)[chosen], truth)

    def loss(logarithm: float) -> float:
        return float(np.mean((fitted(float(np.exp(logarithm)))[0] - truth) ** 2))

    grid = np.linspace(np.log(NARROWEST), np.log(WIDEST), COARSE)
    best = int(np.argmin([loss(value) for value in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, COARSE - 1)])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    sigma = float(np.exp(found.x))
    predicted, factor, level = fitted(sigma)
    error = np.full(source.shape, np.nan)
    error[chosen] = np.abs(truth - predicted)
    # What does not vary correlates with nothing.
    varies = np.ptp(predicted) > 0
    return ResolutionScaledError(
        error=error,
        sigma=sigma,
        factor=factor,
        offset=level,
        rse=float(np.sqrt(np.mean((truth - predicted) ** 2))),
        rsp=float(np.corrcoef(truth, predicted)[0, 1]) if varies else 0.0,
    )


def _blurred(
    image: NDArray[np.float64], sigma: float, scale: int, offset: float
) -> NDArray[np.float64]:
    """Return an image blurred by a Gaussian where the pixels of its source lie.

    At the borders the Gaussian is cut off, and what is left of it has sum 1.
    """
    rows, columns = (_weights(side, sigma, scale, offset) for side in image.shape)
    result: NDArray[np.float64] = rows @ image @ columns.T
    return result


def _weights(side: int, sigma: float, scale: int, offset: float) -> NDArray[np.float64]:
    centres = scale * np.arange(side // scale) + offset
    exponents = -((centres[:, None] - np.arange(side)) ** 2) / (2 * sigma**2)
    # Of a Gaussian narrower than a pixel the nearest one is left.
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return result
