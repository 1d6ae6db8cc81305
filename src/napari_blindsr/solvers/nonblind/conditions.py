"""Unit and noise of an image, as the image prior gets them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.physics.noise import smooth_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


NOISE_RANGE, UNEXPLAINED_RANGE = (-1.0, 3.0), (-8.0, 2.0)
"""Of the decided logarithms."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The network's correction of kernel and noise, for the best restoration of an image.

    Attributes
    ----------
    shift : Tensor, (3,)
        Added to the posterior mean of the log covariance.
    noise : float
        Factor of the estimated noise.
    unexplained : float
        Standard deviation of further noise, in units of the root mean square difference of
        neighbouring pixels.
    """

    shift: Tensor
    noise: float
    unexplained: float

    @classmethod
    def of(cls, numbers: Tensor) -> Decision:
        """Return the decision of the network's numbers (5,)."""
        return cls(
            shift=numbers[:3],
            noise=float(numbers[3].clamp(*NOISE_RANGE).exp()),
            unexplained=float(numbers[4].clamp(*UNEXPLAINED_RANGE).exp()),
        )

    @classmethod
    def mean(cls, decisions: Sequence[Decision]) -> Decision:
        """Return the mean decision of several images with one blur."""
        count = len(decisions)
        return cls(
            shift=torch.stack([one.shift for one in decisions]).mean(dim=0),
            noise=math.exp(sum(math.log(one.noise) for one in decisions) / count),
            unexplained=math.exp(sum(math.log(one.unexplained) for one in decisions) / count),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """Unit and noise of a whole image, the same for all of its tiles.

    Attributes
    ----------
    low, span : Tensor, (C,)
        Darkest intensity, and the range of intensities, without noise: the prior's 0 and 1.
    slope : Tensor, (C,)
        Root mean square difference of neighbouring pixels.
    decision : Decision or None
        Correction of the estimated noise.
    origin : tuple of int
        Row and column of the first pixel in the whole image.
    """

    low: Tensor
    span: Tensor
    slope: Tensor
    decision: Decision | None = None
    origin: tuple[int, int] = (0, 0)

    def noise(self, estimated: Tensor) -> Tensor:
        """Return the corrected noise of an estimate (C,) or (C, h, w)."""
        if self.decision is None:
            return estimated
        shape = (-1, *[1] * (estimated.ndim - 1))
        more = (self.decision.unexplained * self.slope).reshape(shape)
        return ((self.decision.noise * estimated).square() + more.square()).sqrt()

    def times(self, factor: float) -> Conditions:
        """Return the conditions of an image that is brighter by a factor."""
        return replace(
            self, low=factor * self.low, span=factor * self.span, slope=factor * self.slope
        )

    def moved(self, rows: int, columns: int) -> Conditions:
        """Return the conditions of a part that begins so many pixels further down and right."""
        return replace(self, origin=(self.origin[0] + rows, self.origin[1] + columns))


def conditions_of(
    planes: NDArray[np.float32],
    *,
    measured: NDArray[np.bool_] | None,
    together: bool,
    device: torch.device,
) -> Conditions:
    """Return the conditions of planes (C, h, w) from their valid pixels.

    `together` uses one unit for all channels, as those of a colour picture.
    """
    ranges = np.array([smooth_range(plane, measured) for plane in planes])
    if together:
        ranges[:] = ranges[:, 0].min(), ranges[:, 1].max()
    slopes = [_slope(plane, measured) for plane in planes]
    low, high = torch.from_numpy(ranges.astype(np.float32)).to(device).unbind(1)
    return Conditions(
        low=low, span=high - low, slope=torch.tensor(slopes, dtype=low.dtype, device=device)
    )


def _slope(plane: NDArray[np.float32], measured: NDArray[np.bool_] | None) -> float:
    """Return the root mean square difference of neighbouring valid pixels."""
    powers = []
    for axis in (0, 1):
        squares = np.square(np.diff(plane.astype(np.float64), axis=axis))
        if measured is not None:
            both = np.logical_and(
                np.delete(measured, 0, axis=axis), np.delete(measured, -1, axis=axis)
            )
            squares = squares[both]
        powers.append(float(squares.mean()) if squares.size else 0.0)
    return float(np.sqrt(np.mean(powers)))
