"""From changes and expected errors to a standard deviation: the rules, and where they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 3
"""Side, in pixels of the result, in which its local standard deviation is taken."""

POOLED = 0.25
"""Standard deviation, in pixels of the input, over which squared changes are averaged."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How changes become a standard deviation: a product of powers that sum to 1.

    So it has the unit of the image, whatever that is. The numbers were fitted by
    ``benchmarks/uncertainty.py --fit``.

    Attributes
    ----------
    factor : float
    expected : float
        Power of what the map of errors expects.
    kernel : float
        Power of the change with the kernel.
    data : float
        Of the change with the data.
    detail : float
        Of the local standard deviation of the result.
    typical : float
        Of the root mean square change with the data over the whole image.
    contrast : float
        Of the standard deviation of the whole image.
    """

    factor: float
    expected: float = 0.0
    kernel: float
    data: float
    detail: float
    typical: float
    contrast: float


LEARNED_BLIND = Rule(
    factor=0.92,
    expected=0.84,
    kernel=0.07,
    data=0.075,
    detail=-0.007,
    typical=-0.06,
    contrast=0.082,
)
"""For results of the image prior with kernels that were read off the image."""

LEARNED_KNOWN = Rule(
    factor=1.93, expected=0.85, kernel=0.0, data=0.17, detail=-0.005, typical=0.092, contrast=-0.107
)
"""For results of the image prior with kernels that are known."""

LEARNED_ALONE = Rule(
    factor=0.88, expected=0.925, kernel=0.0, data=0.0, detail=0.02, typical=0.0, contrast=0.055
)
"""For results of the image prior, by its map of errors alone."""

LIGHT_BLIND = Rule(
    factor=0.99, expected=0.69, kernel=0.01, data=0.25, detail=0.07, typical=0.08, contrast=-0.1
)
LIGHT_KNOWN = Rule(
    factor=0.89,
    expected=0.71,
    kernel=0.0,
    data=0.285,
    detail=0.052,
    typical=-0.029,
    contrast=-0.018,
)
LIGHT_ALONE = Rule(
    factor=0.727, expected=0.886, kernel=0.0, data=0.0, detail=0.104, typical=0.0, contrast=0.01
)
"""The same three where the noise grows with the light."""

BLIND = Rule(factor=1.23, kernel=0.2, data=0.49, detail=0.29, typical=-0.335, contrast=0.355)
"""For other finishes, with kernels that were read off the image."""

KNOWN = Rule(factor=0.96, kernel=0.0, data=0.685, detail=0.325, typical=-0.435, contrast=0.425)
"""For other finishes, with kernels that are known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Mean squared differences to the result, in the result's axes and squared unit.

    Attributes
    ----------
    expected : ndarray or None
        Square of the standard deviation that the map of errors expects.
    data : ndarray or None
        Of what was restored from the result, blurred again, with fresh noise.
    kernel : ndarray or None
        Of what was restored from the data with another kernel.
    """

    expected: NDArray[np.float32] | None = None
    data: NDArray[np.float32] | None
    kernel: NDArray[np.float32] | None


def rule_for(changes: Changes, *, light: bool) -> Rule:
    """Return the rule that was fitted for what is known.

    Parameters
    ----------
    changes : Changes
    light : bool
        Whether the noise grows with the light, as in micrographs.
    """
    if changes.expected is None:
        return KNOWN if changes.kernel is None else BLIND
    if changes.data is None:
        return LIGHT_ALONE if light else LEARNED_ALONE
    if changes.kernel is None:
        return LIGHT_KNOWN if light else LEARNED_KNOWN
    return LIGHT_BLIND if light else LEARNED_BLIND


def combine(
    image: NDArray[np.float32], changes: Changes, rule: Rule, *, axes: str, scale: int
) -> NDArray[np.float32]:
    """Return the standard deviation of an image, of the image's shape and unit.

    Parameters
    ----------
    image : ndarray
        In axes "YX", "YXC" or "CYX".
    changes : Changes
        As many as the rule asks for.
    rule : Rule
    axes : str
    scale : int
    """
    contrast = float(image.std())
    if contrast == 0:
        return np.zeros_like(image)
    logarithm = np.full(image.shape, np.log(rule.factor) + rule.contrast * np.log(contrast))
    factors: list[tuple[float, NDArray[np.floating]]] = [(rule.detail, local_sd(image, axes))]
    if rule.expected:
        assert changes.expected is not None
        factors.append((rule.expected, np.sqrt(changes.expected)))
    for power, squares in ((rule.data, changes.data), (rule.kernel, changes.kernel)):
        if power:
            assert squares is not None
            factors.append((power, np.sqrt(pooled(squares, axes, scale))))
    if rule.typical:
        assert changes.data is not None
        factors.append((rule.typical, np.sqrt(np.mean(changes.data, keepdims=True))))
    for power, values in factors:
        # Far below what counts, so that a product with nothing is as good as nothing.
        logarithm += power * np.log(np.maximum(values, 1e-6 * contrast))
    deviation: NDArray[np.float32] = np.exp(logarithm).astype(np.float32)
    return deviation


def local_sd(image: NDArray[np.floating], axes: str, window: int = WINDOW) -> NDArray[np.float64]:
    """Return the standard deviation in square windows around each pixel of each channel."""
    sides = tuple(window if axis in "YX" else 1 for axis in axes)
    # About a constant, so that the difference of squares keeps its digits.
    values = image.astype(np.float64) - float(image.mean())
    mean = uniform_filter(values, sides, mode="nearest")
    square = uniform_filter(values**2, sides, mode="nearest")
    deviation: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0))
    return deviation


def pooled(squares: NDArray[np.float32], axes: str, scale: int) -> NDArray[np.float32]:
    """Return squared changes averaged with their neighbours', channel by channel."""
    sigmas = tuple(POOLED * scale if axis in "YX" else 0.0 for axis in axes)
    averaged: NDArray[np.float32] = gaussian_filter(squares, sigmas, mode="nearest")
    return averaged
