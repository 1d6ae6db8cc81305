"""Finishes assume periodic borders; this gives them images that have such borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.engine.nonblind.border import extend_periodic, margin_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_blindsr.engine.observation import Observation


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
