"""The image prior on an observation: any number of channels, luma first; any borders."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.solvers.nonblind.borders import with_periodic_borders

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.solvers.nonblind.error_map import ErrorMap
    from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior


@torch.no_grad()
def unfolded(
    observation: Observation,
    kernel: Tensor,
    network: UnfoldedPrior,
    *,
    noise: float | Tensor = 0.0,
    typical: Tensor | None = None,
    measured: Tensor | None = None,
    colour: bool = False,
    autocast: torch.autocast | None = None,
    errors: ErrorMap | None = None,
    log_variance_sd: float = 0.0,
) -> Tensor:
    """Restore an observation with a known kernel (K, K); the result is not clipped.

    Of a colour picture the luma is restored as a single channel is, and the colour differences,
    which have little detail, in two rounds: better and faster. The differences and their negatives
    are treated alike, so that neutral colours stay neutral.

    Parameters
    ----------
    noise : float or Tensor, (C,) or (C, h, w)
        σ, standard deviation of the noise in ``observation.data``, everywhere or in each pixel.
    typical : Tensor, (C,), optional
        Root mean square of `noise` over the whole image that the observation is a part of.
    measured : Tensor, bool, (h, w), optional
        Valid pixels; the others should hold a guess.
    colour : bool
        Whether the channels are red, green and blue of one picture (`shares_detail`).
    errors : ErrorMap, optional
        Return the standard deviation of the error instead, of each channel by itself.
    log_variance_sd : float
        For `errors`: standard deviation of the error of the kernel's log variances.
    """
    sigma = torch.as_tensor(noise, dtype=observation.data.dtype, device=observation.data.device)
    sigma = sigma.expand(len(observation.data)) if sigma.ndim == 0 else sigma
    split = colour and errors is None
    if split:
        observation = replace(observation, data=to_luma(observation.data))
        sigma = noise_of_luma(sigma)
        typical = None if typical is None else noise_of_luma(typical)
    count = len(observation.data)

    def restore(data: Tensor, measured: Tensor | None) -> Tensor:
        levels = _as_large(sigma, data) if sigma.ndim == 3 else list(sigma)
        means: list[Tensor | None] = [None] * count if typical is None else [*typical]
        # One at a time: the features of a plane take far more memory than the plane.
        planes = []
        for number, (plane, level, mean) in enumerate(zip(data, levels, means, strict=True)):
            restored = partial(
                network,
                kernel=kernel,
                scale=observation.scale,
                noise=level,
                typical=mean,
                measured=measured,
                errors=errors,
                log_variance_sd=log_variance_sd,
            )
            if split and number:
                # Neutral is 0, and stays so: a difference and its negative are treated alike.
                image = restored(plane[None], brief=True) - restored(-plane[None], brief=True)
                planes.append(image[0] / 2)
            else:
                planes.append(restored(plane[None])[0])
        return torch.stack(planes)

    with autocast if autocast is not None else nullcontext():
        image = with_periodic_borders(observation, kernel.shape[-1], restore, measured=measured)
    return from_luma(image) if split else image


def _as_large(noise: Tensor, data: Tensor) -> list[Tensor]:
    """Return a map of noise (1, h, w) for each channel, padded to the size of the data."""
    rows, columns = ((data.shape[d] - noise.shape[d]) // 2 for d in (-2, -1))
    padded = F.pad(noise[None], (columns, columns, rows, rows), mode="replicate")[0]
    return [plane[None] for plane in padded]


LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601), which the scores use, too."""

CHANNELS = len(LUMA)

MOST_COLOURFUL = 0.7
"""Largest detail of the colour differences, in units of the luma's, of channels that share it. Most
pictures have 0.1 to 0.7, and very colourful ones 1; channels of different stains have 2 to 4."""


def to_luma(channels: Tensor) -> Tensor:
    """Return luma, and half the differences of red and blue to it, of RGB channels (3, h, w)."""
    mixed: Tensor = torch.tensordot(_mixing(channels), channels, dims=1)
    return mixed


def from_luma(planes: Tensor) -> Tensor:
    """Return red, green and blue; the inverse of `to_luma`."""
    luma, reds, blues = planes
    red, blue = luma + 2 * reds, luma + 2 * blues
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack((red, green, blue))


def noise_of_luma(noise: Tensor) -> Tensor:
    """Return standard deviations in luma and differences of independent noise (3, …) in RGB."""
    variance: Tensor = torch.tensordot(_mixing(noise).square(), noise.square(), dims=1)
    return variance.sqrt()


def shares_detail(channels: Tensor, noise: Tensor, *, measured: Tensor | None = None) -> bool:
    """Return whether channels (3, h, w) share their detail, as those of a photograph do.

    Noise of standard deviations (3,) does not count as detail, nor do pixels that are not
    `measured`.
    """
    luma, *differences = _detail(to_luma(channels), noise_of_luma(noise), measured)
    # Halves have a quarter of the power.
    return 4 * sum(differences) <= MOST_COLOURFUL * luma


def _detail(planes: Tensor, noise: Tensor, measured: Tensor | None) -> list[float]:
    """Return the mean square of differences between neighbours in each plane, without noise."""
    power = planes.new_zeros(len(planes))
    for axis in (-2, -1):
        squares = planes.diff(dim=axis).square()
        if measured is not None:
            first, last = 0, measured.shape[axis] - 1
            both = measured.narrow(axis, first, last) & measured.narrow(axis, 1, last)
            squares = squares[:, both][:, None]
        if squares.numel():
            power = power + squares.mean(dim=(-2, -1)) - 2 * noise.square()
    return power.clamp(min=0).tolist()


def _mixing(like: Tensor) -> Tensor:
    """Return the matrix from red, green and blue to luma and halved differences."""
    luma = torch.tensor(LUMA, dtype=like.dtype, device=like.device)
    red, _, blue = torch.eye(CHANNELS, dtype=like.dtype, device=like.device)
    return torch.stack((luma, (red - luma) / 2, (blue - luma) / 2))
