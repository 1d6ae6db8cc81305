"""Whether the parts of an image have the same blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_blindsr.estimation.network import load_kernel_estimator
from napari_blindsr.physics.kernels.moments import covariance_of, principal_axes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


SMALLEST_PART = 24
LARGEST_PART = 192
"""Smallest and largest side in pixels of the window in the middle of a quarter."""


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """How well the blurs of the four quarters of an image agree.

    Attributes
    ----------
    disagreement : float
        Mean square difference of the quarters' blurs from their mean, in units of their
        uncertainty; 1 on average if the blur does not vary.
    spread : float
        Root mean square difference of their log covariances from their mean.
    range : tuple of float
        Smallest and largest of their geometric mean widths, standard deviations in LR pixels.
    variance : float
        Logarithm of the common variance in LR px², the mean of both axes.
    log_variance_sd : float
        Standard deviation of its error.
    """

    disagreement: float
    spread: float
    range: tuple[float, float]
    variance: float
    log_variance_sd: float


@torch.no_grad()
def quadrant_consistency(
    data: NDArray[np.float32], scale: int, *, device: str | torch.device = "cpu"
) -> Consistency | None:
    """Estimate the blur of the four quarters of an image (C, h, w) without missing pixels.

    Each is evaluated as it is and turned by 180°, which leaves a covariance unchanged. Returns None
    if the image is too small to be divided.
    """
    plane = torch.from_numpy(data).mean(dim=0)
    sides = [min(length // 2, LARGEST_PART) for length in plane.shape]
    if min(sides) < SMALLEST_PART:
        return None
    starts = [
        ((length // 2 - side) // 2, length // 2 + (length - length // 2 - side) // 2)
        for length, side in zip(plane.shape, sides, strict=True)
    ]
    parts = torch.stack(
        [plane[y : y + sides[0], x : x + sides[1]] for y in starts[0] for x in starts[1]]
    ).to(device)
    network, calibration = load_kernel_estimator()
    votes = network.to(device)(torch.cat((parts, parts.flip(1, 2))), scale)
    means = votes.mean.double().cpu().reshape(2, 4, -1).mean(dim=0)
    variances = votes.log_variance.double().exp().cpu().reshape(2, 4, -1).mean(dim=0)
    precision = 1 / (calibration**2 * variances)
    middle = (precision * means).sum(dim=0) / precision.sum(dim=0)
    freedom = means.numel() - middle.numel()
    axes, _ = principal_axes(covariance_of(means))
    widths = axes.prod(dim=-1).pow(0.25)
    return Consistency(
        disagreement=float((precision * (means - middle).square()).sum() / freedom),
        spread=math.sqrt(float((means - means.mean(dim=0)).square().sum(dim=1).mean())),
        range=(float(widths.min()), float(widths.max())),
        # The trace of the logarithm is the same in all directions.
        variance=float(middle[:2].mean()),
        # The network's error is common to the parts, so their number does not reduce it.
        log_variance_sd=calibration * float(variances[:, :2].mean().sqrt()),
    )
