"""Kernels that an image allows, drawn by how well they agree with what was read of its blur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.blur import gaussian_of
from napari_blindsr.candidates import candidate_weights, draw_candidates
from napari_blindsr.engine.kernels import Gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.engine.estimator import BlurReading
    from napari_blindsr.engine.kernels import KernelFamily
    from napari_blindsr.settings import Geometry


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
