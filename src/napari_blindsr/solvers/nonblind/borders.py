"""Make an image periodic without changing it, for methods with periodic borders."""

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

    Twice the kernel's reach, so that opposite borders do not influence each other, and room for the
    blend.
    """
    return -(-kernel_size // scale) + 2


def extend_periodic(image: Tensor, margin: int) -> Tensor:
    """Extend an image (C, h, w) by a margin so that it is seamless when repeated.

    Border pixels are continued as they are, and opposite borders are blended with a cosine taper.
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

    For the border "extend", the data are continued as a guess that need not be explained, and the
    result is cropped. `restore` turns data (C, h, w) with valid pixels (h, w) into an image (C,
    s·h, s·w); `canvas` returns the whole canvas of the observation.
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
