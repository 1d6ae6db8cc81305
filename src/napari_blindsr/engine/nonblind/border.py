"""Make an image periodic without touching it: what periodic methods need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def extension(kernel_size: int, scale: int) -> int:
    """Return by how many LR pixels to extend each border."""
    return max(8, 2 * -(-kernel_size // scale))


def extend_periodic(image: Tensor, margin: int) -> Tensor:
    """Extend an image so that it continues seamlessly when it is repeated.

    Parameters
    ----------
    image : Tensor, (C, h, w)
    margin : int
        Pixels added on each side.

    Returns
    -------
    Tensor, (C, h + 2·margin, w + 2·margin)
        The image in its middle, unchanged.
    """
    for dim in (-1, -2):
        image = _extend_axis(image.movedim(dim, -1), margin).movedim(-1, dim)
    return image


def _reflect(image: Tensor, before: int, after: int) -> Tensor:
    # Reflection padding is limited to the image's own length.
    while before or after:
        step = min(before, image.shape[-1] - 1), min(after, image.shape[-1] - 1)
        image = F.pad(image, step, mode="reflect")
        before, after = before - step[0], after - step[1]
    return image


def _extend_axis(image: Tensor, margin: int) -> Tensor:
    gap = 2 * margin
    length = image.shape[-1]
    right = _reflect(image, 0, gap)[..., length:]
    left = _reflect(image, gap, 0)[..., :gap]
    # From the right border to the left border of the next period.
    place = (torch.arange(gap, device=image.device, dtype=image.dtype) + 1) / (gap + 1)
    weight = 0.5 + 0.5 * torch.cos(torch.pi * place)
    bridge = weight * right + (1 - weight) * left
    return torch.cat((bridge[..., margin:], image, bridge[..., :margin]), dim=-1)
