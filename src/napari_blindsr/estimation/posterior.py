"""The posterior of a blur, its corrections, and kernels that agree with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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

    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.solvers.nonblind.conditions import Decision
    from napari_blindsr.types import Geometry


CALIBRATIONS = {"clean": (0.0, 0.9), "noisy": (0.5, 0.8), "shot noise": (0.75, 0.65)}
"""Of three classes of images: by how much the log covariance is raised, in units of its variance,
and the factor of its standard deviation. Fitted to photographs and micrographs of the validation
split; `benchmarks/real.py` evaluates it."""

VISIBLE_NOISE = (0.01, 0.05)
"""Standard deviations of the noise over the range of intensities between which an image without
shot noise passes from clean to noisy."""

OPTICS_PRIOR = (0.24, 0.44)
"""Mean and standard deviation of the log variance of a real blur minus that of the
diffraction-limited one: mostly 1 to 1.4 times as wide."""

OPTICS_CARE = 0.36
"""By how much the log variance to restore with is lower than the estimate where the optics alone
tell it: it may be that of diffraction, and too wide a kernel costs far more than too narrow a one.
Validated on soft objects and micrographs."""

SOFT = (0.8, 1.2)
"""Standard deviations of the log variance between which the correction fades out: so uncertain
estimates are of soft objects, and right without it."""

CARE = 0.3
UNCERTAIN = (0.7, 0.9)
"""By how many standard deviations of the log variance the kernel to restore with is narrower than
the network decides, and the standard deviations between which this fades in. Validated on the same
pictures: the mean gain stays, and fewer results are worse than interpolation."""


@dataclass(frozen=True, kw_only=True)
class BlurPosterior:
    """The blur of an image with its uncertainty.

    Attributes
    ----------
    mean : Tensor, (3,)
        Logarithm of the covariance in LR px², as `moments.log_covariance` writes it.
    deviation : Tensor, (3,)
        Standard deviation of its error.
    families : Tensor, (F,)
        Probabilities of the families in `FAMILY_ORDER`.
    decision : Decision or None
        Correction of kernel and noise for the reconstruction; None uses the mean.
    """

    mean: Tensor
    deviation: Tensor
    families: Tensor
    decision: Decision | None = None

    @property
    def log_variance_sd(self) -> float:
        """Standard deviation of the error of the log variances, as one number."""
        return float(self.deviation[:2].square().mean().sqrt())

    @property
    def careful(self) -> BlurPosterior:
        """The posterior whose mean is that of the kernel to restore with."""
        if self.decision is None:
            return self
        return replace(self, mean=self.mean + self.decision.shift.to(self.mean), decision=None)


def calibrated(posterior: BlurPosterior, *, shot_noise: bool, noise: float) -> BlurPosterior:
    """Return a posterior corrected for its class of images.

    The network was trained on more soft objects and narrower blur than micrographs usually have, so
    it underestimates their blur, the more so the less certain it is. Clean images mostly are
    photographs. The kernel to restore with stays, or is narrower if the estimate is very uncertain.

    Parameters
    ----------
    posterior : BlurPosterior
    shot_noise : bool
        Whether the image has shot noise.
    noise : float
        Standard deviation of its noise over its range of intensities.
    """
    if shot_noise:
        rate, spread = CALIBRATIONS["shot noise"]
    else:
        share = _share(noise, VISIBLE_NOISE)
        ends = zip(CALIBRATIONS["clean"], CALIBRATIONS["noisy"], strict=True)
        rate, spread = (clean + share * (noisy - clean) for clean, noisy in ends)
    soft = _share(posterior.log_variance_sd, SOFT)
    rate, spread = rate * (1 - soft), spread + (1 - spread) * soft
    widths = posterior.mean.new_tensor([1, 1, 0])
    moved = rate * posterior.deviation.square() * widths
    decision = posterior.decision
    if decision is not None:
        care = CARE * _share(posterior.log_variance_sd, UNCERTAIN)
        narrower = care * posterior.deviation * widths
        decision = replace(decision, shift=decision.shift.to(posterior.mean) - moved - narrower)
    return replace(
        posterior,
        mean=posterior.mean + moved,
        deviation=spread * posterior.deviation,
        decision=decision,
    )


def _share(value: float, limits: tuple[float, float]) -> float:
    """Return where a value lies between two limits: 0 up to the first, 1 from the second."""
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low)))


def informed(posterior: BlurPosterior, optics: float) -> BlurPosterior:
    """Return a posterior combined with the optics, which count more the less certain it is.

    Parameters
    ----------
    posterior : BlurPosterior
    optics : float
        Logarithm of the variance of the diffraction-limited blur in LR px²; NaN if unknown.
    """
    if math.isnan(optics):
        return posterior
    mean, deviation = OPTICS_PRIOR
    share = posterior.deviation.square() / (posterior.deviation.square() + deviation**2)
    share = share * posterior.mean.new_tensor([1, 1, 0])
    decision = posterior.decision
    if decision is not None:
        decision = replace(decision, shift=decision.shift.to(posterior.mean) - OPTICS_CARE * share)
    return replace(
        posterior,
        mean=posterior.mean + share * (optics + mean - posterior.mean),
        deviation=posterior.deviation * (1 - share).sqrt(),
        decision=decision,
    )


def draw_kernels(
    family: KernelFamily,
    posterior: BlurPosterior,
    count: int,
    *,
    scale: int,
    geometry: Geometry,
    largest: int,
    seed: int,
) -> list[NDArray[np.float32]]:
    """Draw kernels (K, K) of a family from a posterior; `largest` is the largest side, odd.

    The log covariance of a Gaussian is drawn from the normal distribution of the posterior; of any
    other family, candidates are drawn by how well they agree with the posterior.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(family, Gaussian):
        mean, deviation = posterior.mean.double().cpu(), posterior.deviation.double().cpu()
        steps = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
        return [
            gaussian_of(
                family, mean + deviation * step, scale=scale, geometry=geometry, largest=largest
            )
            for step in steps
        ]
    candidates = draw_candidates(family, scale=scale, geometry=geometry, seed=seed)
    weights = candidate_weights(candidates, posterior, scale)
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    return [np.asarray(candidates[i].numpy(), dtype=np.float32) for i in chosen.tolist()]


CANDIDATES = 2048
"""Kernels of a family that are compared with a posterior."""

TOGETHER = 128
"""Kernels that are in memory in double precision at a time."""


def draw_candidates(family: KernelFamily, *, scale: int, geometry: Geometry, seed: int) -> Tensor:
    """Return random kernels (n, K, K) of a family, of all widths that are looked for."""
    family = family.searched(scale)
    size = family.size(scale)
    return family.sample(
        CANDIDATES,
        scale=scale,
        size=size,
        center=kernel_center(size, scale, geometry),
        generator=torch.Generator().manual_seed(seed),
    )


def candidate_weights(candidates: Tensor, posterior: BlurPosterior, scale: int) -> Tensor:
    """Return the probability of each of some kernels (n, K, K), given a posterior: sum 1."""
    # The decision is on the width of Gaussians; other shapes use the mean.
    mean, deviation = posterior.mean.double().cpu(), posterior.deviation.double().cpu()
    logs = torch.cat(
        [
            log_covariance(core_covariance(some.double()) / scale**2)
            for some in candidates.split(TOGETHER)
        ]
    )
    # Without an uncertainty the nearest few get all the weight.
    spread = torch.where(deviation.isnan(), torch.full_like(deviation, 0.1), deviation)
    distances = ((logs - mean) / spread).square().sum(dim=1)
    return torch.softmax(-0.5 * distances, dim=0)


def mean_candidate(candidates: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean (K, K) of kernels (n, K, K), in double precision: sum 1."""
    pairs = zip(candidates.split(TOGETHER), weights.split(TOGETHER), strict=True)
    parts = [torch.einsum("n,nij->ij", weight, some.double()) for some, weight in pairs]
    kernel = torch.stack(parts).sum(dim=0)
    return kernel / kernel.sum()
