"""Make an image periodic without touching it: what periodic methods need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def margin_for(kernel_size: int, scale: int) -> int:
    """Return by how many LR pixels to extend each border: more than the kernel's side.

    Twice the kernel's reach, so that what is reconstructed at one border does not see
    what is reconstructed at the opposite one, and room for the blend.
    """
    return -(-kernel_size // scale) + 2


def extend_periodic(image: Tensor, margin: int) -> Tensor:
    """Extend an image so that it continues seamlessly when it is repeated.

    Its border pixels are continued as they are, and those of opposite borders are blended
    with a cosine taper.

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


def _extend_axis(image: Tensor, margin: int) -> Tensor:
    gap = 2 * margin
    # From the last pixel to the first of the next period.
    place = torch.arange(1, gap + 1, device=image.device, dtype=image.dtype) / (gap + 1)
    weight = 0.5 + 0.5 * torch.cos(torch.pi * place)
    bridge = weight * image[..., -1:] + (1 - weight) * image[..., :1]
    return torch.cat((bridge[..., margin:], image, bridge[..., :margin]), dim=-1)
