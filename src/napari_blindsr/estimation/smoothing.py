"""Blur estimates smoothed over regions (kriging) and filtered over time (Kalman).

Kriging is Gaussian process regression with an unknown mean (Rasmussen and Williams, *Gaussian
Processes for Machine Learning*, 2006): blurs of near places resemble each other, and each posterior
counts by its certainty. How much the blur varies, and over what distance, follows from the
posteriors by their restricted likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_blindsr.estimation.posterior import BlurPosterior
from napari_blindsr.solvers.nonblind.conditions import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


AMPLITUDES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Possible standard deviations of the log variance over the field."""

DISTANCES = (0.25, 0.5, 1.0, 2.0)
"""Possible distances over which a blur changes, in units of the field's longer side."""

OWN = 0.25
"""Fraction of the stated variance by which estimates of the same image differ. On images with one
blur, regions that overlap by a third differed by 0.08 of it on average, 0.18 at most; the rest is a
common error."""

JITTER = 1e-6
"""Least variance of a posterior, which keeps the matrices regular."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """One way in which a blur may vary.

    Its log likelihood; weights (m, n) of n posteriors in the blur of m places, of sum 1 for each
    place; and the variances (m,) that would remain if the posteriors were exact.
    """

    likelihood: Tensor
    mixing: Tensor
    spread: Tensor


def krige(
    posteriors: Sequence[BlurPosterior | None], seen: Tensor, wanted: Tensor
) -> list[BlurPosterior]:
    """Return the posteriors of places `wanted` (m, 2) from those of places `seen` (n, 2).

    Places are in units of the field's longer side. Uncertain posteriors move towards their
    neighbours', certain ones stay. All get the mean probabilities of the families, since a lens has
    one kind of blur. The network's error is common to all posteriors, so their number does not
    reduce the deviation.
    """
    taken = [index for index, posterior in enumerate(posteriors) if posterior is not None]
    given = [posterior for posterior in posteriors if posterior is not None]
    means = torch.stack([posterior.mean.double().cpu() for posterior in given])
    variances = torch.stack([posterior.deviation.double().cpu() for posterior in given]).square()
    families = torch.stack([posterior.families.cpu() for posterior in given]).mean(dim=0)
    decisions = [posterior.decision for posterior in given if posterior.decision is not None]
    decision = Decision.mean(decisions) if decisions else None
    # The three elements share amplitude and distance; their errors are independent.
    candidates = [
        [
            _model(means[:, n], OWN * variances[:, n], among, across, peak)
            for n in range(means.shape[1])
        ]
        for among, across, peak in _covariances(seen[taken].double(), wanted.double())
    ]
    scores = torch.stack([_likelihood(elements) for elements in candidates])
    chances = torch.softmax(scores, dim=0)
    mean, deviation = [], []
    for n in range(means.shape[1]):
        guesses = torch.stack([models[n].mixing @ means[:, n] for models in candidates])
        errors = variances[:, n].sqrt()
        noises = torch.stack([models[n].mixing.abs() @ errors for models in candidates])
        spreads = torch.stack([models[n].spread for models in candidates])
        middle = chances @ guesses
        mean.append(middle)
        left = noises.square() + spreads + (guesses - middle).square()
        deviation.append((chances @ left).sqrt())
    means, deviations = torch.stack(mean, dim=1).float(), torch.stack(deviation, dim=1).float()
    return [
        BlurPosterior(mean=one, deviation=other, families=families, decision=decision)
        for one, other in zip(means, deviations, strict=True)
    ]


def _covariances(seen: Tensor, wanted: Tensor) -> list[tuple[Tensor, Tensor, float]]:
    """Return the possible covariances over the field, with the variance of each.

    Each is a pair: (n, n) among places seen (n, 2), and (m, n) with places wanted (m, 2).
    """
    among, across = torch.cdist(seen, seen).square(), torch.cdist(wanted, seen).square()
    return [
        (
            amplitude**2 * torch.exp(-among / (2 * distance**2)),
            amplitude**2 * torch.exp(-across / (2 * distance**2)),
            amplitude**2,
        )
        for amplitude in AMPLITUDES
        for distance in (DISTANCES if amplitude else DISTANCES[:1])
    ]


def _likelihood(elements: Sequence[_Model]) -> Tensor:
    """Return the log likelihood of several elements together."""
    return torch.stack([model.likelihood for model in elements]).sum()


def _model(values: Tensor, variances: Tensor, among: Tensor, across: Tensor, peak: float) -> _Model:
    """Return the model of values (n,) with a covariance of `_covariances`."""
    factor = torch.linalg.cholesky(among + torch.diag(variances.clamp_min(JITTER)))
    ones = torch.ones(len(values), 1, dtype=values.dtype)
    solved = torch.cholesky_solve(ones, factor)
    weight = float(solved.sum())
    # The mean, by generalised least squares, and the remainder.
    average = solved.T / weight
    rest = torch.eye(len(values), dtype=values.dtype) - ones @ average
    left = rest @ values
    likelihood = -0.5 * (
        2 * factor.diagonal().log().sum()
        + math.log(weight)
        + left @ torch.cholesky_solve(left[:, None], factor)[:, 0]
    )
    mixing = average + across @ torch.cholesky_solve(rest, factor)
    spread = (
        torch.einsum("mn,nk,mk->m", mixing, among, mixing) - 2 * (mixing * across).sum(dim=1) + peak
    )
    return _Model(likelihood=likelihood, mixing=mixing, spread=spread.clamp_min(0))


DRIFT = 0.1
"""Variance of the change of the log covariance from plane to plane.

In a simulation of ten frames (docs/benchmarks) it improved blurs that do not change or change by
some percent in width from frame to frame, and did not worsen faster ones."""


def smoothed(
    posteriors: Sequence[BlurPosterior], *, steps: Sequence[int], drift: float = DRIFT
) -> list[BlurPosterior]:
    """Return the posteriors of consecutive planes, each estimated from all of them.

    The log covariance is a random walk with steps of a variance `drift`, of which `steps` lead from
    each plane to the next, observed with the stated variances: a Kalman filter and the smoother of
    Rauch, Tung and Striebel (1965). Neighbours share the network's error, so the stated deviations
    stay.
    """
    if not posteriors:
        return []
    values = torch.stack([posterior.mean.double().cpu() for posterior in posteriors])
    noise = torch.stack([posterior.deviation.double().cpu().square() for posterior in posteriors])
    means, variances = [values[0]], [noise[0]]
    for value, power, count in zip(values[1:], noise[1:], steps, strict=True):
        ahead = variances[-1] + count * drift
        gain = ahead / (ahead + power)
        means.append(means[-1] + gain * (value - means[-1]))
        variances.append((1 - gain) * ahead)
    later: list[Tensor] = [means[-1]]
    for mean, variance, count in zip(means[-2::-1], variances[-2::-1], steps[::-1], strict=True):
        gain = variance / (variance + count * drift)
        later.append(mean + gain * (later[-1] - mean))
    return [
        replace(posterior, mean=mean.to(posterior.mean))
        for posterior, mean in zip(posteriors, reversed(later), strict=True)
    ]
