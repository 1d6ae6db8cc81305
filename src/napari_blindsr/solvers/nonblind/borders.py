"""Make an image periodic without touching it, as periodic methods need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_blindsr.physics.observation import Observation


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


def with_periodic_borders(
    observation: Observation,
    kernel_size: int,
    restore: Callable[[Tensor, Tensor | None], Tensor],
    *,
    measured: Tensor | None = None,
    canvas: bool = False,
) -> Tensor:
    """Restore an observation by a method whose borders are periodic.

    The border "circular" is what it assumes. "extend" continues the data beyond the
    borders, blended into those of the opposite side, only as a guess that need not be
    explained, and cuts the result to size.

    Parameters
    ----------
    observation : Observation
    kernel_size : int
        K in HR pixels.
    restore : callable
        Turns data (C, h, w) and where they were measured, bool (h, w) or None, into an
        image (C, s·h, s·w).
    measured : Tensor, bool, (h, w), optional
        Where the data were measured. Elsewhere they should hold a guess.
    canvas : bool
        Return the whole canvas of the observation instead of the result's part.

    Returns
    -------
    Tensor, (C, s·h, s·w), or the observation's `canvas_shape`
    """
    data = observation.data
    if observation.border != "extend":
        return restore(data, measured)
    kept = observation.margin if canvas else 0
    margin = max(margin_for(kernel_size, observation.scale), -(-kept // observation.scale))
    if measured is None:
        measured = torch.ones(data.shape[-2:], dtype=torch.bool, device=data.device)
    measured = F.pad(measured, (margin, margin, margin, margin))
    image = restore(extend_periodic(data, margin), measured)
    cut = observation.scale * margin - kept
    return image[..., cut : image.shape[-2] - cut, cut : image.shape[-1] - cut]
