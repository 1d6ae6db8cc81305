"""Colour pictures as luma and colour differences: the detail that channels share is in the luma."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601), by which results are scored, too."""

CHANNELS = len(LUMA)

MIDDLE = (0.0, 0.5, 0.5)
"""Where luma and differences of grey lie: with channels in [0, 1], all three are."""

MOST_COLOURFUL = 0.7
"""Detail of the colour differences, in units of the luma's, up to which channels share it. Most
pictures have 0.1 to 0.7, and very colourful ones 1; channels of different stains have 2 to 4."""


def to_luma(channels: Tensor) -> Tensor:
    """Return luma, and half of what red and blue differ from it, about `MIDDLE`.

    Parameters
    ----------
    channels : Tensor, (3, h, w)
        Red, green, blue.

    Returns
    -------
    Tensor, (3, h, w)
    """
    mixed: Tensor = torch.tensordot(_mixing(channels), channels, dims=1)
    return mixed + channels.new_tensor(MIDDLE)[:, None, None]


def from_luma(planes: Tensor) -> Tensor:
    """Return red, green and blue; the inverse of `to_luma`."""
    luma, reds, blues = planes - planes.new_tensor(MIDDLE)[:, None, None]
    red, blue = luma + 2 * reds, luma + 2 * blues
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack((red, green, blue))


def noise_of_luma(noise: Tensor) -> Tensor:
    """Return standard deviations in luma and differences of noise that channels do not share.

    Parameters
    ----------
    noise : Tensor, (3, …)
        In red, green and blue.

    Returns
    -------
    Tensor, (3, …)
    """
    variance: Tensor = torch.tensordot(_mixing(noise).square(), noise.square(), dims=1)
    return variance.sqrt()


def shares_detail(channels: Tensor, noise: Tensor, *, measured: Tensor | None = None) -> bool:
    """Tell whether channels have their detail in common, as pictures of a scene do.

    Parameters
    ----------
    channels : Tensor, (3, h, w)
        Red, green, blue.
    noise : Tensor, (3,)
        Standard deviation of the noise in each, which is taken for no detail.
    measured : Tensor, bool, (h, w), optional
        What else there is does not count.
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
