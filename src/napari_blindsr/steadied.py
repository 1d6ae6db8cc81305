"""Readings of neighbouring planes, steadied by each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_blindsr.blur import estimate_of
from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.layout import follow
from napari_blindsr.tally import SharedKernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_blindsr.engine.estimator import BlurReading
    from napari_blindsr.layout import Index
    from napari_blindsr.stack_job import StackJob

DRIFT = 0.1
"""Variance by which the logarithm of a blur's covariance is taken to change from plane to plane.

In a simulation of ten frames (docs/benchmarks) it was a gain for blurs that do not change and for
such that change by some percent in width from frame to frame, and no loss for faster ones.
"""


def steadied(job: StackJob, found: Mapping[Index, SharedKernel]) -> dict[Index, SharedKernel]:
    """Return the kernels of planes, each told by what its neighbours tell as well.

    Parameters
    ----------
    job : StackJob
        Whose planes have a kernel each, read by a network.
    found : dict of tuple of int to SharedKernel
        What each plane by itself tells; planes that could not be read are missing.
    """
    settings, family = job.settings, job.settings.kernel
    assert isinstance(family, KernelFamily)
    axis = job.chain_axis
    assert axis is not None
    result = dict(found)
    readings = {
        index: shared.blur.reading
        for index, shared in found.items()
        if shared.blur is not None and shared.blur.reading is not None
    }
    for chain in follow(list(readings), axis):
        places = [index[axis] for index in chain]
        # Where planes could not be read, the blur has had more time to change.
        steps = [after - before for before, after in itertools.pairwise(places)]
        told = smoothed([readings[index] for index in chain], steps=steps)
        for index, reading in zip(chain, told, strict=True):
            blur = estimate_of(
                reading,
                scale=settings.scale,
                family=family,
                reader="network",
                geometry=settings.geometry,
                seed=settings.seed,
                quality=settings.quality,
            )
            result[index] = SharedKernel(kernel=blur.kernel, blur=blur)
    return result


def smoothed(
    readings: Sequence[BlurReading], *, steps: Sequence[int], drift: float = DRIFT
) -> list[BlurReading]:
    """Return readings along a chain of planes, each as all of them together tell it.

    The logarithm of the covariance is taken for a random walk that is read with the stated
    variances: a Kalman filter, and the smoother of Rauch, Tung and Striebel (1965). What makes the
    network err is much the same in neighbours, so the stated deviations stay as they are.

    Parameters
    ----------
    readings : sequence of BlurReading
    steps : sequence of int
        How many steps of the walk lead from each to the next.
    drift : float
        Variance of a step.
    """
    if not readings:
        return []
    values = torch.stack([reading.mean.double().cpu() for reading in readings])
    noise = torch.stack([reading.deviation.double().cpu().square() for reading in readings])
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
        replace(reading, mean=mean.to(reading.mean))
        for reading, mean in zip(readings, reversed(later), strict=True)
    ]
