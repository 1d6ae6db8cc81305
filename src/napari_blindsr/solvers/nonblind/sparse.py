"""The classical reconstruction, without a neural network: few, sharp edges.

    argmin over x of  ‖y − (x ⋆ k)↓s‖²/2σ² + λ Σ |∇x|ᵖ

by half-quadratic splitting (Krishnan and Fergus, 2009): shrinking the gradients and a closed-form
image step take turns, with a stronger coupling in each round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_blindsr.solvers.nonblind.borders import with_periodic_borders
from napari_blindsr.solvers.nonblind.data_step import ROUNDING, DataModule

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.physics.observation import Observation


ROUNDS = 12
FIRST_CONTRAST, LAST_CONTRAST = 0.1, 0.01
"""Root mean square distance of gradients from the shrunk ones, at first and at last."""

SHRINKAGE = 0.5
"""Threshold of the shrinkage, in units of that distance."""


def sparse_planes(
    data: Tensor,
    kernel: Tensor,
    *,
    scale: int,
    noise: float,
    measured: Tensor | None = None,
) -> Tensor:
    """Restore planes (n, h, w) with periodic borders; parameters as in `sparse`."""
    noise_power = noise**2 + ROUNDING**2
    explain = DataModule(data, kernel, scale, measured=measured)
    image = explain.linear(noise_power, contrast=FIRST_CONTRAST)
    ratio = (LAST_CONTRAST / FIRST_CONTRAST) ** (1 / (ROUNDS - 1))
    for index in range(ROUNDS):
        contrast = FIRST_CONTRAST * ratio**index
        gradients = [image.roll(-1, dim) - image for dim in (-2, -1)]
        steepness = (gradients[0].square() + gradients[1].square()).sqrt() + 1e-9
        threshold = SHRINKAGE * contrast
        kept = (1 - threshold / steepness).clamp_min(0)
        image = explain.linear(
            noise_power,
            contrast=contrast,
            gradients=(kept * gradients[0], kept * gradients[1]),
            guess=image,
        )
    return image


@torch.no_grad()
def sparse(
    observation: Observation,
    kernel: Tensor,
    *,
    noise: float | Tensor = 0.0,
    measured: Tensor | None = None,
    canvas: bool = False,
) -> Tensor:
    """Restore an observation with a known kernel (K, K); the result is not clipped.

    Parameters
    ----------
    noise : float or Tensor, (C,)
        σ, standard deviation of the noise in ``observation.data``, for all or for each channel.
    measured : Tensor, bool, (h, w), optional
        Valid pixels; the others should hold a guess.
    canvas : bool
        Return the observation's whole canvas.
    """

    def restore(data: Tensor, measured: Tensor | None) -> Tensor:
        # One at a time: the spectra of a plane take far more memory than the plane.
        levels = noise.tolist() if isinstance(noise, torch.Tensor) else [noise] * len(data)
        planes = [
            sparse_planes(
                plane[None], kernel, scale=observation.scale, noise=level, measured=measured
            )
            for plane, level in zip(data, levels, strict=True)
        ]
        return torch.cat(planes)

    return with_periodic_borders(
        observation, kernel.shape[-1], restore, measured=measured, canvas=canvas
    )
