"""Kernels drawn from a family, and how well each agrees with what was read of a blur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_blindsr.engine.kernels.width import core_covariance, log_covariance
from napari_blindsr.engine.observation import kernel_center

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.engine.estimator import BlurReading
    from napari_blindsr.engine.kernels import KernelFamily
    from napari_blindsr.settings import Geometry

CANDIDATES = 2048
"""Kernels of a family that are compared with what the image tells."""

TOGETHER = 128
"""Of which so many are in memory in double precision at a time."""


def draw_candidates(family: KernelFamily, *, scale: int, geometry: Geometry, seed: int) -> Tensor:
    """Return kernels (n, K, K) of a family, of which a reading tells how probable each is."""
    size = family.size(scale)
    return family.sample(
        CANDIDATES,
        scale=scale,
        size=size,
        center=kernel_center(size, scale, geometry),
        generator=torch.Generator().manual_seed(seed),
    )


def candidate_weights(candidates: Tensor, reading: BlurReading, scale: int) -> Tensor:
    """Return how probable each of some kernels (n, K, K) is, given a reading: sum 1."""
    mean, deviation = reading.mean.double().cpu(), reading.deviation.double().cpu()
    found = torch.cat(
        [
            log_covariance(core_covariance(some.double()) / scale**2)
            for some in candidates.split(TOGETHER)
        ]
    )
    # Without an uncertainty the nearest few count.
    spread = torch.where(deviation.isnan(), torch.full_like(deviation, 0.1), deviation)
    distances = ((found - mean) / spread).square().sum(dim=1)
    return torch.softmax(-0.5 * distances, dim=0)


def mean_candidate(candidates: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean (K, K) of some kernels (n, K, K), in double precision: sum 1."""
    pairs = zip(candidates.split(TOGETHER), weights.split(TOGETHER), strict=True)
    parts = [torch.einsum("n,nij->ij", weight, some.double()) for some, weight in pairs]
    kernel = torch.stack(parts).sum(dim=0)
    return kernel / kernel.sum()
