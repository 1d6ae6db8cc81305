"""The project's own image prior: closed-form data steps in turn with a small denoiser.

A deep unfolding like USRNet's (Zhang, Van Gool and Timofte, CVPR 2020), for single planes. It
starts from the linear estimate for a 1/f² spectrum instead of repeated pixels, its
denoiser works at half the resolution and below, and it weighs data against prior by the noise.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from napari_blindsr.engine.nonblind.data_module import DataModule
from napari_blindsr.engine.nonblind.extended import with_periodic_borders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_blindsr.engine.observation import Observation

ITERATIONS = 5
WIDTHS = (32, 64, 96)

ROUNDING = 0.3 / 255
"""Standard deviation of the error of rounding to 8 bits: all data have some noise."""


class _Residual(nn.Module):
    """Identity plus 3×3 convolution, ReLU, 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(F.relu(self.first(x)))
        return result


class Denoiser(nn.Module):
    """A residual U-Net on planes folded to half their resolution, without biases.

    Without biases it is homogeneous: an image twice as bright with twice the noise comes
    out twice as bright.
    """

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        a, b, c = widths
        self.head = nn.Conv2d(5, a, 3, padding=1, bias=False)
        self.first = nn.Sequential(_Residual(a), _Residual(a))
        self.down1 = nn.Conv2d(a, b, 2, stride=2, bias=False)
        self.second = nn.Sequential(_Residual(b), _Residual(b))
        self.down2 = nn.Conv2d(b, c, 2, stride=2, bias=False)
        self.body = nn.Sequential(_Residual(c), _Residual(c))
        self.up2 = nn.ConvTranspose2d(c, b, 2, stride=2, bias=False)
        self.third = nn.Sequential(_Residual(b), _Residual(b))
        self.up1 = nn.ConvTranspose2d(b, a, 2, stride=2, bias=False)
        self.fourth = nn.Sequential(_Residual(a), _Residual(a))
        self.tail = nn.Conv2d(a, 4, 3, padding=1, bias=False)

    def forward(self, planes: Tensor, level: Tensor) -> Tensor:
        """Return planes without their noise.

        Parameters
        ----------
        planes : Tensor, (n, H, W)
        level : Tensor, scalar or (n,)
            Standard deviation of the noise.
        """
        height, width = planes.shape[-2:]
        # Folding and two levels halve the sides three times.
        pad = (0, -width % 8, 0, -height % 8)
        folded = F.pixel_unshuffle(F.pad(planes[:, None], pad, mode="replicate"), 2)
        map_ = level.reshape(-1, 1, 1, 1).expand(len(planes), 1, *folded.shape[-2:])
        one = self.first(self.head(torch.cat((folded, map_), dim=1)))
        two = self.second(self.down1(one))
        three = self.body(self.down2(two))
        two = self.third(self.up2(three) + two)
        one = self.fourth(self.up1(two) + one)
        noise = F.pixel_shuffle(self.tail(one), 2)[:, 0, :height, :width]
        result: Tensor = planes - noise.to(planes.dtype)
        return result


class UnfoldedPrior(nn.Module):
    """The whole finish for planes: linear start, then data steps and denoising in turn."""

    def __init__(self, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.denoiser = Denoiser()
        # Logarithms of the level that each denoising assumes, from noise and scale.
        first, last = nn.Linear(2, 32), nn.Linear(32, iterations + 1)
        self.levels = nn.Sequential(first, nn.ReLU(), last)
        self.weights = nn.Parameter(torch.zeros(iterations))
        nn.init.zeros_(self.denoiser.tail.weight)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.linspace(math.log(0.08), math.log(0.01), iterations + 1))

    def forward(
        self,
        data: Tensor,
        kernel: Tensor,
        *,
        scale: int,
        noise: float | Tensor,
        measured: Tensor | None = None,
    ) -> Tensor:
        """Restore planes, their borders taken as periodic.

        Parameters
        ----------
        data : Tensor, (n, h, w)
        kernel : Tensor, (K, K) or (n, K, K)
            Correlation kernel in HR pixels.
        scale : int
        noise : float or Tensor (n,)
            Standard deviation of the noise in `data`.
        measured : Tensor, bool, (h, w), optional
            Where `data` was measured; elsewhere it is only a guess to start from.

        Returns
        -------
        Tensor, (n, s·h, s·w)
        """
        *_, image = self.iterates(data, kernel, scale=scale, noise=noise, measured=measured)
        return image

    def iterates(
        self,
        data: Tensor,
        kernel: Tensor,
        *,
        scale: int,
        noise: float | Tensor,
        measured: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the image after each denoising; parameters as in `forward`."""
        sigma = torch.as_tensor(noise, dtype=data.dtype, device=data.device).expand(len(data))
        power = (sigma.square() + ROUNDING**2)[:, None, None]
        explain = DataModule(data, kernel, scale, measured=measured)
        image = explain.linear(power)
        inputs = torch.stack(
            (0.5 * power.flatten().log() + 5, torch.full_like(sigma, math.log(scale))), dim=1
        )
        # In single precision, whatever the denoiser computes in.
        with torch.autocast(data.device.type, enabled=False):
            levels = self.levels(inputs).exp()[..., None, None].unbind(1)
        for before, level, weight in zip(levels[:-1], levels[1:], self.weights, strict=True):
            alpha = weight.exp() * power / before.square()
            image = self.denoiser(explain(image, alpha), level)
            yield image


@torch.no_grad()
def unfolded(
    observation: Observation,
    kernel: Tensor,
    network: UnfoldedPrior,
    *,
    noise: float = 0.0,
    measured: Tensor | None = None,
    autocast: torch.autocast | None = None,
) -> Tensor:
    """Restore an observation with a known kernel, each channel by itself.

    Parameters
    ----------
    observation : Observation
    kernel : Tensor, (K, K)
        Correlation kernel in HR pixels, non-negative, sum 1.
    network : UnfoldedPrior
        On the device of the observation.
    noise : float
        σ, standard deviation of the noise in ``observation.data``.
    measured : Tensor, bool, (h, w), optional
        Where the data were measured. Elsewhere they should hold a guess.
    autocast : torch.autocast, optional
        Context in which the denoiser is evaluated.

    Returns
    -------
    Tensor, (C, s·h, s·w)
        In the intensities of the observation, not clipped.
    """

    def restore(data: Tensor, measured: Tensor | None) -> Tensor:
        # One at a time: the features of a plane take far more memory than the plane.
        planes = [
            network(p[None], kernel, scale=observation.scale, noise=noise, measured=measured)
            for p in data
        ]
        return torch.cat(planes)

    with autocast if autocast is not None else nullcontext():
        return with_periodic_borders(observation, kernel.shape[-1], restore, measured=measured)
