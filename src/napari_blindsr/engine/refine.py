"""Refine what was read of a blur by how well the restored image explains the data.

A kernel that is too wide makes the image prior's result ring, one that is too narrow leaves it
blurred in ways that do not look like an image. Either way the prior departs from the data, and
what it restored, blurred again, fits them worse. So the residual

    D(L) = w · log ‖y − (x(L) ⋆ k(L))↓s‖,   x(L) the restored image for kernel k(L),

says something of the width that the reading does not. The refined blur is the minimum of
D(L) + ½ (L − μ)ᵀ C⁻¹ (L − μ), with the reading's mean μ and covariance C, L the logarithm of the
covariance of the blur: found by a few Newton steps with derivatives from differences. Where the
blur is no Gaussian, some kernels are drawn as often as the reading tells, and weighed by exp(−D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F

from napari_blindsr.engine.estimator import BlurReading
from napari_blindsr.engine.kernels import render_gaussian, side_for
from napari_blindsr.engine.kernels.width import (
    core_covariance,
    covariance_of,
    log_covariance,
    principal_axes,
)
from napari_blindsr.engine.nonblind.border import extend_periodic, margin_for
from napari_blindsr.engine.nonblind.data_module import DataModule

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from napari_blindsr.engine.nonblind.unfolded import UnfoldedPrior

Done: TypeAlias = tuple[int, int]
"""How much of a piece of work is done, and of how much."""

Refinement: TypeAlias = "Generator[Done, bool | None, BlurReading | None]"
Residuals: TypeAlias = "Generator[Done, bool | None, Tensor | None]"

EVIDENCE = 20.0
"""w: how much the residual counts; chosen on pictures of scikit-image that none of the benchmarks
uses."""

DISTANCES = (1.0, 0.6, 0.4)
"""Of the points that derivatives are taken from, in standard deviations: one a Newton step."""

LARGEST_STEP = 1.5
"""In standard deviations along each axis."""

LARGEST_CROP = 128
"""Side in LR pixels of what is looked at: it costs a restoration for each kernel."""

LARGEST_RESTORED = 512
"""The same in HR pixels, which bounds time and memory at large scales."""

DRAWN = 32
"""Kernels that are weighed where the blur is no Gaussian."""

DRAWN_EVIDENCE = 2.5
"""w there; chosen on pictures that nothing was trained on, with kernels of their own."""

LEAST_VARIANCE = 0.1
"""Of that of the draw, after the evidence: about that of cells that so many points of three
dimensions share among them."""

NEGLIGIBLE = 1e-4
"""Done of a variance; in some directions the kernels of a family do not differ at all."""

DRAWN_CROP = 64
"""Side in LR pixels there, as there are more kernels."""

TOGETHER = 4
"""Restorations at a time, which bounds the memory."""


def crop_side(largest: int, scale: int) -> int:
    """Return the side in LR pixels of what is looked at, at most `largest`."""
    return min(largest, LARGEST_RESTORED // scale)


@torch.no_grad()
def refine(
    plane: Tensor,
    reading: BlurReading,
    prior: UnfoldedPrior,
    *,
    scale: int,
    center_offset: float,
    periodic: bool,
    noise: float,
    autocast: AbstractContextManager[object],
) -> Refinement:
    """Return a reading nearer to the truth, for a Gaussian blur.

    Parameters
    ----------
    plane : Tensor, (h, w)
        The LR image, or its mean over channels.
    reading : BlurReading
    prior : UnfoldedPrior
        On the device of the plane.
    scale : int
    center_offset : float
        δ: where the kernel's centre lies, in HR pixels from the middle of its array.
    periodic : bool
        Whether the image goes on at its opposite borders.
    noise : float
        Standard deviation of the noise in the plane.
    autocast : context manager
        In which the prior is evaluated.

    Yields
    ------
    tuple of int
        How many restorations are done, and of how many. Sending a true value ends the work.

    Returns
    -------
    BlurReading or None
        None if it was ended.
    """
    crop = _textured(plane, crop_side(LARGEST_CROP, scale))
    restore = _Restore(
        plane=crop,
        prior=prior,
        scale=scale,
        offset=center_offset,
        periodic=periodic and crop.shape == plane.shape,
        noise=noise,
        autocast=autocast,
        total=len(DISTANCES) * 7 + 1,
    )
    mean, deviation = reading.mean.double().cpu(), reading.deviation.double().cpu()
    steps = torch.cat((torch.zeros(1, 3), torch.eye(3), -torch.eye(3))).double()
    here = torch.zeros(3, dtype=torch.float64)
    curvature = torch.ones(3, dtype=torch.float64)
    best, least = here, torch.inf
    for distance in DISTANCES:
        points = here + distance * steps
        logs = mean + deviation * points
        fits = yield from restore.gaussian_residuals(logs)
        if fits is None:
            return None
        costs = EVIDENCE * fits + 0.5 * points.square().sum(dim=1)
        lowest = int(costs.argmin())
        if float(costs[lowest]) < least:
            best, least = points[lowest], float(costs[lowest])
        above, below = costs[1:4], costs[4:7]
        slope = (above - below) / (2 * distance)
        curvature = ((above + below - 2 * costs[0]) / distance**2).clamp_min(0.5)
        here = here - (slope / curvature).clamp(-LARGEST_STEP, LARGEST_STEP)
    fit = yield from restore.gaussian_residuals((mean + deviation * here)[None])
    if fit is None:
        return None
    if EVIDENCE * float(fit[0]) + 0.5 * float(here.square().sum()) < least:
        best = here
    return BlurReading(
        mean=(mean + deviation * best).to(reading.mean),
        deviation=(deviation / curvature.clamp_min(1).sqrt()).to(reading.deviation),
        families=reading.families,
    )


@torch.no_grad()
def refine_drawn(
    plane: Tensor,
    reading: BlurReading,
    prior: UnfoldedPrior,
    *,
    candidates: Tensor,
    weights: Tensor,
    scale: int,
    periodic: bool,
    noise: float,
    autocast: AbstractContextManager[object],
) -> Refinement:
    """Return a reading nearer to the truth, for a blur that is like one of some kernels.

    `DRAWN` of them are taken as often as their weights ask for, and weighed by how well what the
    image prior restores with each explains the data. What that changes of the mean and the
    deviation of their covariances' logarithms is added to what was read.

    Parameters
    ----------
    plane, reading, prior, scale, periodic, noise, autocast
        As in `refine`, as are what is yielded and returned.
    candidates : Tensor, (n, K, K)
        With their centre where the geometry asks for it.
    weights : Tensor, (n,)
        How probable each is, given the reading: sum 1.
    """
    crop = _textured(plane, crop_side(DRAWN_CROP, scale))
    # Evenly spaced along the sum of weights, so that the draw adds no chance of its own.
    levels = (torch.arange(DRAWN, dtype=torch.float64) + 0.5) / DRAWN
    chosen = torch.searchsorted(weights.double().cumsum(0), levels).clamp_max(len(weights) - 1)
    kernels, counts = chosen.unique(return_counts=True)
    drawn = candidates[kernels]
    restore = _Restore(
        plane=crop,
        prior=prior,
        scale=scale,
        periodic=periodic and crop.shape == plane.shape,
        noise=noise,
        autocast=autocast,
        total=len(drawn),
    )
    fits = yield from restore.residuals(drawn.to(plane))
    if fits is None:
        return None
    before = counts.double() / DRAWN
    after = torch.softmax(before.log() - DRAWN_EVIDENCE * fits, dim=0)
    logs = log_covariance(core_covariance(drawn.double()) / scale**2)
    mean, deviation = _with_evidence(
        reading.mean.double().cpu(),
        reading.deviation.double().cpu(),
        before=_moments(logs, before),
        after=_moments(logs, after),
    )
    return BlurReading(
        mean=mean.to(reading.mean),
        deviation=deviation.to(reading.deviation),
        families=reading.families,
    )


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (3,) of values (n, 3)."""
    mean = (weights[:, None] * values).sum(dim=0)
    return mean, (weights[:, None] * (values - mean).square()).sum(dim=0)


def _with_evidence(
    mean: Tensor,
    deviation: Tensor,
    *,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (3,) of a reading with what the evidence changed of a draw from it.

    A draw also tells of the family, which does not become part of the reading: the difference
    between the moments (mean, variance) before and after is what is added, as of normal
    distributions in their natural parameters.
    """
    read = deviation.square()
    none = NEGLIGIBLE * read
    # Evidence takes nothing away, and a few kernels that count are no certainty.
    part = ((after[1] + none) / (before[1] + none)).clamp(LEAST_VARIANCE, 1)
    narrow = torch.minimum(before[1] + none, read)
    left = part * narrow
    precision = 1 / read + 1 / left - 1 / narrow
    moved = (mean / read + after[0] / left - before[0] / narrow) / precision
    farthest = LARGEST_STEP * deviation
    return mean + (moved - mean).clamp(-farthest, farthest), precision.rsqrt()


@dataclass(kw_only=True)
class _Restore:
    """A plane, what restores it, and how often it has."""

    plane: Tensor
    prior: UnfoldedPrior
    scale: int
    offset: float = 0.0
    periodic: bool
    noise: float
    autocast: AbstractContextManager[object]
    total: int
    done: int = 0

    def gaussian_residuals(self, logs: Tensor) -> Residuals:
        """Return the logarithm of the residual for each of some Gaussian blurs (n, 3)."""
        variances, angles = principal_axes(self.scale**2 * covariance_of(logs))
        size = side_for(3 * float(variances.max().sqrt()), self.scale)
        center = size // 2 + self.offset
        kernels = render_gaussian(variances, angles, size=size, center=center)
        return (yield from self.residuals(kernels.to(self.plane)))

    def residuals(self, kernels: Tensor) -> Residuals:
        """Return the logarithm of the residual for each of some kernels (n, K, K)."""
        found = []
        for some in kernels.split(TOGETHER):
            found.append(self._residuals(some))
            self.done += len(some)
            if (yield self.done, self.total):
                return None
        return torch.cat(found)

    def _residuals(self, kernels: Tensor) -> Tensor:
        data, measured, margin = self.plane[None], None, 0
        if not self.periodic:
            margin = margin_for(kernels.shape[-1], self.scale)
            data = extend_periodic(data, margin)
            ones = torch.ones_like(self.plane, dtype=torch.bool)
            measured = F.pad(ones, (margin, margin, margin, margin))
        data = data.expand(len(kernels), -1, -1)
        with self.autocast:
            images = self.prior(
                data, kernels, scale=self.scale, noise=self.noise, measured=measured
            )
        explain = DataModule(data, kernels, self.scale)
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
