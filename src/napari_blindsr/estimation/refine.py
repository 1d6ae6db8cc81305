"""Refine a blur estimate by how well the restored image explains the data.

With too wide a kernel the image prior's result rings, and with one of the wrong shape or direction
it has similar traces; the prior then departs from the data, and its result, blurred again, fits
them worse. But a wider kernel leaves a larger residual in any case: the evidence for a kernel has a
determinant beside the residual, which favours wide ones. So kernels k drawn from the posterior get
the weights

    exp(−w · (log ‖y − (x(k) ⋆ k)↓s‖ − b · log v(k))),

x(k) the restored image, v the variance of the kernel (the geometric mean of both axes). Noise in
the residual says nothing of the kernel, so w counts for what exceeds the noise.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.images.tiling import TOGETHER, crop_side
from napari_blindsr.physics.kernels import render_gaussian, side_for
from napari_blindsr.physics.kernels.moments import (
    core_covariance,
    covariance_of,
    log_covariance,
    principal_axes,
)
from napari_blindsr.solvers.nonblind.borders import extend_periodic, margin_for
from napari_blindsr.solvers.nonblind.data_step import DataModule

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from napari_blindsr.estimation.posterior import BlurPosterior
    from napari_blindsr.progress import Done
    from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior


EVIDENCE = 10.0
"""w: the weight of the residual. This, b and the next were chosen on crops of the training
photographs."""

GROWTH = 0.6
"""b: how fast the residual grows with the variance of the blur."""

EVIDENCE_ERROR = 0.5
"""Standard deviation of the log covariance that the evidence gives: b and the prior's errors differ
from image to image."""

NARROW = -2.0
"""Log variance in LR px² below which the evidence errs more about the width, by the difference:
blur within a pixel is hardly visible."""

DRAWN = 32
"""Number of kernels that are weighted."""

EDGE = 1e-3
"""Of the unit interval: limits draws from a normal distribution to three standard deviations."""

LEAST_VARIANCE = 0.1
"""Smallest variance after the evidence, relative to that of the draw: about that of the cells among
which so many points of three dimensions divide the space."""

NEGLIGIBLE = 1e-4
"""Fraction of a variance; in some directions the kernels of a family do not differ at all."""


def gaussian_candidates(
    posterior: BlurPosterior, *, scale: int, center_offset: float, seed: int
) -> Tensor:
    """Return Gaussian kernels (n, K, K) drawn from a posterior, evenly (scrambled Sobol sequence).

    `center_offset` is δ: a kernel's centre in HR pixels from the middle of its array.
    """
    even = torch.quasirandom.SobolEngine(3, scramble=True, seed=seed).draw(DRAWN).double()
    steps = torch.special.ndtri(even.clamp(EDGE, 1 - EDGE))
    logs = posterior.mean.double().cpu() + posterior.deviation.double().cpu() * steps
    variances, angles = principal_axes(scale**2 * covariance_of(logs))
    size = side_for(3 * float(variances.max().sqrt()), scale)
    return render_gaussian(variances, angles, size=size, center=size // 2 + center_offset)


@torch.no_grad()
def refine(
    plane: Tensor,
    posterior: BlurPosterior,
    prior: UnfoldedPrior,
    *,
    candidates: Tensor,
    weights: Tensor,
    scale: int,
    periodic: bool,
    noise: float,
    autocast: AbstractContextManager[object],
) -> Generator[Done, bool | None, BlurPosterior | None]:
    """Return the refined posterior of a blur; None on stop.

    `DRAWN` candidates (n, K, K), centred as the geometry requires, are chosen by their `weights`
    (n,) of sum 1, and weighted by the evidence. The posterior moves by as much as that moves the
    mean of their log covariances, and its deviation shrinks as theirs does. `plane` (h, w) is the
    LR image, or its mean over channels, with noise of a standard deviation `noise`. Yields the
    number of restorations that are done, and their total.
    """
    crop = _textured(plane, crop_side(scale))
    kernels, counts = _drawn(weights)
    drawn = candidates[kernels]
    residuals = partial(
        _residuals,
        plane=crop,
        prior=prior,
        scale=scale,
        periodic=periodic and crop.shape == plane.shape,
        noise=noise,
        autocast=autocast,
    )
    found: list[Tensor] = []
    for some in drawn.to(plane).split(TOGETHER):
        found.append(residuals(some))
        if (yield sum(map(len, found)), len(drawn)):
            return None
    fits = torch.cat(found)
    logs = log_covariance(core_covariance(drawn.double()) / scale**2)
    before = counts.double() / DRAWN
    unexplained = float((before * (2 * fits).exp()).sum())
    # Noise in the residual does not depend on the kernel.
    strength = EVIDENCE * max(0.0, 1 - noise**2 / unexplained)
    costs = strength * (fits - GROWTH * logs[:, :2].mean(dim=1))
    after = torch.softmax(before.log() - costs, dim=0)
    center, spread = _moments(logs, before)
    moved, narrowed = _moments(logs, after)
    deviation = posterior.deviation.double().cpu()
    variance = deviation.square()
    none = NEGLIGIBLE * variance
    # A few kernels with large weights are no certainty.
    part = ((narrowed + none) / (spread + none)).clamp(LEAST_VARIANCE, 1)
    # The evidence counts more where the posterior is uncertain, for shape and width separately.
    shape = _trust(float(variance.mean()), EVIDENCE_ERROR)
    narrow = max(0.0, NARROW - float(posterior.mean[:2].mean()))
    width = _trust(float(variance[:2].mean()), math.hypot(EVIDENCE_ERROR, narrow))
    shift = moved - center
    common = shift[:2].mean()
    shift *= shape
    shift[:2] += (width - shape) * common
    part = 1 - part.new_tensor([width, width, shape]) * (1 - part)
    return replace(
        posterior,
        mean=(posterior.mean.double().cpu() + shift).to(posterior.mean),
        deviation=(deviation * part.sqrt()).to(posterior.deviation),
    )


def _drawn(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of some candidates are chosen by their weights (n,), and how often each."""
    # Evenly spaced along the sum of weights, so that the choice adds no noise.
    levels = (torch.arange(DRAWN, dtype=torch.float64) + 0.5) / DRAWN
    chosen = torch.searchsorted(weights.double().cumsum(0), levels).clamp_max(len(weights) - 1)
    kernels, counts = chosen.unique(return_counts=True)
    return kernels, counts


def _trust(variance: float, error: float) -> float:
    """Return the factor of a correction, from a posterior's variance and the correction's error."""
    return variance / (variance + error**2)


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (3,) of values (n, 3)."""
    mean = (weights[:, None] * values).sum(dim=0)
    return mean, (weights[:, None] * (values - mean).square()).sum(dim=0)


def _residuals(
    kernels: Tensor,
    *,
    plane: Tensor,
    prior: UnfoldedPrior,
    scale: int,
    periodic: bool,
    noise: float,
    autocast: AbstractContextManager[object],
) -> Tensor:
    """Return the log residual of a plane, restored with each of some kernels (n, K, K)."""
    data, measured, margin = plane[None], None, 0
    if not periodic:
        margin = margin_for(kernels.shape[-1], scale)
        data = extend_periodic(data, margin)
        ones = torch.ones_like(plane, dtype=torch.bool)
        measured = F.pad(ones, (margin, margin, margin, margin))
    data = data.expand(len(kernels), -1, -1)
    with autocast:
        images = prior(data, kernels, scale=scale, noise=noise, measured=measured)
    explain = DataModule(data, kernels, scale)
    residual = explain.predict(images.to(data.dtype)) - data
    height, width = residual.shape[-2:]
    inner = residual[..., margin : height - margin, margin : width - margin]
    return 0.5 * (inner.square().mean(dim=(1, 2)) + 1e-12).log().double().cpu()


def _textured(plane: Tensor, side: int) -> Tensor:
    """Return the crop of a large plane that has the most detail, or the whole plane."""
    height, width = plane.shape
    rows, columns = min(side, height), min(side, width)
    crops = [
        plane[top : top + rows, left : left + columns]
        for top in range(0, height - rows + 1, max(1, rows // 2))
        for left in range(0, width - columns + 1, max(1, columns // 2))
    ]
    detail = torch.stack([crop.diff(dim=-1).square().mean() for crop in crops])
    return crops[int(detail.argmax())]
