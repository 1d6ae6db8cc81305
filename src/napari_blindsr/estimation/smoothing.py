"""Blur estimates of a field's regions, smoothed by their neighbours'.

Kriging (Gaussian process regression with an unknown mean; see Rasmussen and Williams, *Gaussian
Processes for Machine Learning*, 2006): blurs of near places resemble each other, and each posterior
counts as much as it is certain. How much the blur varies, and over what distance, is taken from the
posteriors themselves, by their restricted likelihood.
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
"""Standard deviations over the field of the logarithm of a variance that are thought possible."""

DISTANCES = (0.25, 0.5, 1.0, 2.0)
"""Distances over which a blur changes, in units of the field's longer side."""

OWN = 0.25
"""Part of a stated variance by which estimates of the same image differ. On images
with one blur, regions that overlap by a third differed by 0.08 of it on the mean, 0.18 at most;
the rest is an error that they share."""

JITTER = 1e-6
"""Least variance of a posterior, so that equal places do no harm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """One way in which a blur may vary: how likely it is, and what it makes of posteriors.

    Attributes
    ----------
    likelihood : Tensor, ()
        Logarithm.
    mixing : Tensor, (m, n)
        Weights of n posteriors in the blur of m places; each place's sum to 1.
    spread : Tensor, (m,)
        Variance that would be left if the posteriors were exact.
    """

    likelihood: Tensor
    mixing: Tensor
    spread: Tensor


def krige(
    posteriors: Sequence[BlurPosterior | None], seen: Tensor, wanted: Tensor
) -> list[BlurPosterior]:
    """Return what posteriors of several places tell of the blur of others, together.

    An uncertain posterior goes to where its neighbours' are, a certain one stays. All have the mean
    probabilities of the families: a lens has one kind of blur, if of many widths.

    Parameters
    ----------
    posteriors : sequence of BlurPosterior or None
        None where there is nothing to be read. At least one is not.
    seen : Tensor, (n, 2)
        Their places, in units of the field's longer side.
    wanted : Tensor, (m, 2)
        Places whose blur is wanted.

    Returns
    -------
    list of BlurPosterior
        Of the wanted places. What makes the network err is common to all posteriors, so the number
        of those that agree is no gain in certainty: their errors are taken for one.
    """
    taken = [index for index, posterior in enumerate(posteriors) if posterior is not None]
    read = [posterior for posterior in posteriors if posterior is not None]
    means = torch.stack([posterior.mean.double().cpu() for posterior in read])
    variances = torch.stack([posterior.deviation.double().cpu() for posterior in read]).square()
    families = torch.stack([posterior.families.cpu() for posterior in read]).mean(dim=0)
    decisions = [posterior.decision for posterior in read if posterior.decision is not None]
    decision = Decision.mean(decisions) if decisions else None
    # One amplitude and distance for all three elements, whose errors are each their own.
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
    """Return how blurs may vary together over places seen (n, 2) and wanted (m, 2).

    Each way is a covariance (n, n) among those seen, one (m, n) with those wanted, and the
    variance everywhere.
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
    """Return the logarithm of the likelihood of several elements together."""
    return torch.stack([model.likelihood for model in elements]).sum()


def _model(values: Tensor, variances: Tensor, among: Tensor, across: Tensor, peak: float) -> _Model:
    """Return what a covariance makes of values (n,); the rest is as `_covariances` returns it."""
    factor = torch.linalg.cholesky(among + torch.diag(variances.clamp_min(JITTER)))
    ones = torch.ones(len(values), 1, dtype=values.dtype)
    solved = torch.cholesky_solve(ones, factor)
    weight = float(solved.sum())
    # The mean, by generalised least squares, and what is left of the posteriors.
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
"""Variance by which the logarithm of a blur's covariance is taken to change from plane to plane.

In a simulation of ten frames (docs/benchmarks) it was a gain for blurs that do not change and for
such that change by some percent in width from frame to frame, and no loss for faster ones.
"""


def smoothed(
    posteriors: Sequence[BlurPosterior], *, steps: Sequence[int], drift: float = DRIFT
) -> list[BlurPosterior]:
    """Return posteriors along a chain of planes, each as all of them together tell it.

    The logarithm of the covariance is taken for a random walk that is read with the stated
    variances: a Kalman filter, and the smoother of Rauch, Tung and Striebel (1965). What makes the
    network err is much the same in neighbours, so the stated deviations stay as they are.

    Parameters
    ----------
    posteriors : sequence of BlurPosterior
    steps : sequence of int
        How many steps of the walk lead from each to the next.
    drift : float
        Variance of a step.
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
