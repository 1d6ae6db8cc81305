"""Kernels drawn from a family, weighed by how well they agree with a blur estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.physics.kernels.gaussian import gaussian_of
from napari_blindsr.physics.kernels.moments import core_covariance, log_covariance
from napari_blindsr.physics.observation import kernel_center

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.estimation.network import BlurReading
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.types import Geometry


def draw_kernels(
    family: KernelFamily,
    reading: BlurReading,
    count: int,
    *,
    scale: int,
    geometry: Geometry,
    largest: int,
    seed: int,
) -> list[NDArray[np.float32]]:
    """Draw kernels of a family from the posterior of a reading.

    The logarithm of the covariance of a Gaussian is drawn from a normal distribution with the
    reading's mean and deviation; of any other family, one of many candidates is taken as often as
    it agrees with the reading.

    Parameters
    ----------
    family : KernelFamily
    reading : BlurReading
        Of a reader that knows its uncertainty.
    count : int
    scale : int
    geometry : {"camera", "benchmark"}
    largest : int
        Largest side of a kernel, odd: wider ones are cut.
    seed : int

    Returns
    -------
    list of ndarray, (K, K)
        Correlation kernels in HR pixels, each of its own side.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(family, Gaussian):
        mean, deviation = reading.mean.double().cpu(), reading.deviation.double().cpu()
        steps = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
        return [
            gaussian_of(
                family, mean + deviation * step, scale=scale, geometry=geometry, largest=largest
            )
            for step in steps
        ]
    candidates = draw_candidates(family, scale=scale, geometry=geometry, seed=seed)
    weights = candidate_weights(candidates, reading, scale)
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    return [np.asarray(candidates[i].numpy(), dtype=np.float32) for i in chosen.tolist()]


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
    # What is decided on is how wide a Gaussian should be; other shapes are taken as they are.
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
