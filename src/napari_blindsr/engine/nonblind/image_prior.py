"""The image prior on an observation of any number of channels, whatever its borders are."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.engine.nonblind.colour import from_luma, noise_of_luma, to_luma
from napari_blindsr.engine.nonblind.extended import with_periodic_borders

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.engine.nonblind.error_map import ErrorMap
    from napari_blindsr.engine.nonblind.unfolded import Effort, UnfoldedPrior
    from napari_blindsr.engine.observation import Observation

    Views = tuple[tuple[Effort, bool], ...]
    """How a plane is restored, each time: the effort, and whether mirrored. The mean counts."""


@torch.no_grad()
def unfolded(
    observation: Observation,
    kernel: Tensor,
    network: UnfoldedPrior,
    *,
    noise: float | Tensor = 0.0,
    typical: Tensor | None = None,
    measured: Tensor | None = None,
    thorough: bool = False,
    colour: bool = False,
    autocast: torch.autocast | None = None,
    errors: ErrorMap | None = None,
    doubt: float = 0.0,
) -> Tensor:
    """Restore an observation with a known kernel.

    A single channel is restored as it is and as its mirror image; the mean of both is some
    0.1 dB better than either. Several are restored each by itself, and once. Of a colour picture
    the luma is restored as a single channel is, and the colour differences, which have little
    detail of their own, briefly: better, and sooner done.

    Parameters
    ----------
    observation : Observation
    kernel : Tensor, (K, K)
        Correlation kernel in HR pixels, non-negative, sum 1.
    network : UnfoldedPrior
        On the device of the observation.
    noise : float or Tensor, (C,) or (C, h, w)
        σ, standard deviation of the noise in ``observation.data``, everywhere or in each pixel.
    typical : Tensor, (C,), optional
        Root mean square of `noise` over the whole image that the observation is a part of.
    measured : Tensor, bool, (h, w), optional
        Where the data were measured. Elsewhere they should hold a guess.
    thorough : bool
        Go through the later rounds twice, the first time: for a kernel and noise that are known.
    colour : bool
        Whether the channels are red, green and blue of one picture (`shares_detail`).
    autocast : torch.autocast, optional
        Context in which the denoiser is evaluated.
    errors : ErrorMap, optional
        Return what this tells of the standard deviation of the error instead, of each channel by
        itself, whatever `colour` is.
    doubt : float
        Told to `errors`: the standard deviation of the error of the logarithm of the kernel's
        variances.

    Returns
    -------
    Tensor, (C, s·h, s·w)
        In the intensities of the observation, not clipped.
    """
    sigma = torch.as_tensor(noise, dtype=observation.data.dtype, device=observation.data.device)
    sigma = sigma.expand(len(observation.data)) if sigma.ndim == 0 else sigma
    split = colour and errors is None
    if split:
        observation = replace(observation, data=to_luma(observation.data))
        sigma = noise_of_luma(sigma)
        typical = None if typical is None else noise_of_luma(typical)
    count = len(observation.data)
    first: Effort = "thorough" if thorough else "usual"
    # A second thorough one would add nothing on the mean, and harm where the kernel is wrong.
    doubled: Views = ((first, False), ("usual", True))
    once: Views = ((first, False),)
    briefly: Views = (("brief", False),)
    # Several channels take their time as it is.
    views = [doubled, briefly, briefly] if split else [doubled] if count == 1 else [once] * count

    def restore(data: Tensor, measured: Tensor | None) -> Tensor:
        levels = _as_large(sigma, data) if sigma.ndim == 3 else list(sigma)
        means: list[Tensor | None] = [None] * count if typical is None else [*typical]
        # One at a time: the features of a plane take far more memory than the plane.
        planes = []
        for plane, level, mean, chosen in zip(data, levels, means, views, strict=True):
            images = [
                network(
                    plane[None],
                    kernel,
                    scale=observation.scale,
                    noise=level,
                    typical=mean,
                    measured=measured,
                    effort=effort,
                    mirrored=mirrored,
                    errors=errors,
                    doubt=doubt,
                )
                for effort, mirrored in chosen
            ]
            planes.append(torch.cat(images).mean(dim=0))
        return torch.stack(planes)

    with autocast if autocast is not None else nullcontext():
        image = with_periodic_borders(observation, kernel.shape[-1], restore, measured=measured)
    return from_luma(image) if split else image


def _as_large(noise: Tensor, data: Tensor) -> list[Tensor]:
    """Return a map of noise (1, h, w) for each channel, continued as far as the data are."""
    rows, columns = ((data.shape[d] - noise.shape[d]) // 2 for d in (-2, -1))
    padded = F.pad(noise[None], (columns, columns, rows, rows), mode="replicate")[0]
    return [plane[None] for plane in padded]
