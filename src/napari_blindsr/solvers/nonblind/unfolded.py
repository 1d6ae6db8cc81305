"""The project's image prior: closed-form data steps in turn with a small denoiser.

A deep unfolding like USRNet's (Zhang, Van Gool and Timofte, CVPR 2020), for single planes. It
starts from the linear estimate for a 1/f² spectrum instead of repeated pixels, its
denoiser works at half the resolution and below, and it weights data against prior by the noise.
The denoiser gets the image before and after the data step, the noise in each pixel, and how
much of the spectrum the kernel passes; its features go to the next round.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from napari_blindsr.solvers.nonblind.data_step import LEVELS, ROUNDING, WIDTHS, DataModule, Round
from napari_blindsr.weights.tensors import fill, read_tensors, shipped_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from napari_blindsr.solvers.nonblind.error_map import ErrorMap


ITERATIONS = 5

BRIEF = (1, ITERATIONS - 1)
"""The two rounds of a short restoration."""


class _Residual(nn.Module):
    """Identity plus 3×3 convolution, ReLU, 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(F.relu(self.first(x)))
        return result


def _residuals(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*[_Residual(channels) for _ in range(count)])


class Denoiser(nn.Module):
    """A residual U-Net on planes folded to half their resolution, without biases.

    Without biases it is homogeneous: an image twice as bright with twice the noise gives a result
    twice as bright.
    """

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        a, b, c = widths
        self.head = nn.Conv2d(2 * 4 + LEVELS, a, 3, padding=1, bias=False)
        self.recall = nn.Conv2d(a, a, 3, padding=1, bias=False)
        self.first = _residuals(2, a)
        self.down1 = nn.Conv2d(a, b, 2, stride=2, bias=False)
        self.second = _residuals(3, b)
        self.down2 = nn.Conv2d(b, c, 2, stride=2, bias=False)
        self.body = _residuals(3, c)
        self.up2 = nn.ConvTranspose2d(c, b, 2, stride=2, bias=False)
        self.third = _residuals(3, b)
        self.up1 = nn.ConvTranspose2d(b, a, 2, stride=2, bias=False)
        self.fourth = _residuals(3, a)
        self.tail = nn.Conv2d(a, 4, 3, padding=1, bias=False)

    def forward(
        self, planes: Tensor, before: Tensor, levels: Tensor, memory: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return planes without their noise, and features for the next round.

        `planes` and `before` (n, H, W) are the image after and before the data step; `levels`, (n,
        3, ⌈H/8⌉·4, ⌈W/8⌉·4), the noise level at half the resolution, multiplied by the
        `_level_maps`.
        """
        height, width = planes.shape[-2:]
        # Folding and two levels halve the sides three times.
        pad = (0, -width % 8, 0, -height % 8)
        both = F.pad(torch.stack((planes, before), dim=1), pad, mode="replicate")
        one = self.head(torch.cat((F.pixel_unshuffle(both, 2), levels), dim=1))
        if memory is not None:
            one = one + self.recall(memory)
        one = self.first(one)
        two = self.second(self.down1(one))
        three = self.body(self.down2(two))
        two = self.third(self.up2(three) + two)
        one = self.fourth(self.up1(two) + one)
        noise = F.pixel_shuffle(self.tail(one), 2)[:, 0, :height, :width]
        result: Tensor = planes - noise.to(planes.dtype)
        return result, one


class UnfoldedPrior(nn.Module):
    """The network: a linear start, then data steps and denoising in turn."""

    def __init__(self, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.denoiser = Denoiser()
        # Logarithms of the level that each denoising assumes, from noise and scale.
        first, last = nn.Linear(2, 32), nn.Linear(32, iterations + 1)
        self.levels = nn.Sequential(first, nn.ReLU(), last)
        self.weights = nn.Parameter(torch.zeros(iterations))
        nn.init.zeros_(self.denoiser.tail.weight)
        nn.init.zeros_(self.denoiser.recall.weight)
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
        typical: float | Tensor | None = None,
        measured: Tensor | None = None,
        brief: bool = False,
        errors: ErrorMap | None = None,
        log_variance_sd: float = 0.0,
    ) -> Tensor:
        """Restore planes (n, h, w) with periodic borders; the result is (n, s·h, s·w).

        Parameters
        ----------
        kernel : Tensor, (K, K) or (n, K, K)
            Correlation kernel in HR pixels.
        noise : float or Tensor, (n,) or (n, h, w)
            Standard deviation of the noise in `data`, for all, for each, or in each pixel.
        typical : float or Tensor, (n,), optional
            Root mean square of `noise` over the whole image, if `data` are a part of one.
        measured : Tensor, bool, (h, w), optional
            Valid pixels of `data`; the others are only a guess to start from.
        brief : bool
            Take two rounds, which suffice where there is little detail.
        errors : ErrorMap, optional
            Return the standard deviation of the image's error instead of the image.
        log_variance_sd : float
            For `errors`: standard deviation of the error of the kernel's log variances.
        """
        rounds = self.rounds(
            data,
            kernel,
            scale=scale,
            noise=noise,
            typical=typical,
            measured=measured,
            brief=brief,
        )
        last = next(rounds)
        for last in rounds:  # noqa: B007 - the others are not kept
            pass
        return (
            last.image if errors is None else errors(last, last.image.new_tensor(log_variance_sd))
        )

    def rounds(
        self,
        data: Tensor,
        kernel: Tensor,
        *,
        scale: int,
        noise: float | Tensor,
        typical: float | Tensor | None = None,
        measured: Tensor | None = None,
        brief: bool = False,
    ) -> Iterator[Round]:
        """Yield the images of each round; parameters as in `forward`."""
        sigma = torch.as_tensor(noise, dtype=data.dtype, device=data.device)
        if sigma.ndim < 3:
            sigma = sigma.reshape(-1, 1, 1)
        variance = (sigma.square() + ROUNDING**2).expand(len(data), *data.shape[-2:])
        if typical is None:
            power = variance.mean(dim=(1, 2), keepdim=True)
        else:
            level = torch.as_tensor(typical, dtype=data.dtype, device=data.device)
            power = (level.square() + ROUNDING**2).reshape(-1, 1, 1).expand(len(data), 1, 1)
        explain = DataModule(data, kernel, scale, measured=measured)
        image = explain.linear(power)
        logarithm = 0.5 * power.flatten().log() + 5
        inputs = torch.stack((logarithm, torch.full_like(logarithm, math.log(scale))), dim=1)
        # In single precision, whatever the denoiser computes in.
        with torch.autocast(data.device.type, enabled=False):
            levels = self.levels(inputs).exp()[..., None, None].unbind(1)
        maps = _level_maps(variance / power, kernel, scale)
        memory: Tensor | None = None
        for number in BRIEF if brief else range(len(self.weights)):
            before, level = levels[number], levels[number + 1]
            alpha = self.weights[number].exp() * power / before.square()
            previous, scaled = image, level[..., None] * maps
            explained = explain(previous, alpha)
            image, memory = self.denoiser(explained, previous, scaled, memory)
            yield Round(
                before=previous,
                explained=explained,
                image=image,
                noise=level,
                levels=scaled,
                memory=memory,
            )


def _level_maps(variance: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Return factors of the noise level, (n, 3, ⌈s·h/8⌉·4, ⌈s·w/8⌉·4).

    They hold the noise in each pixel, from its `variance` (n, h, w) of mean 1, the scale and the
    kernel.
    """
    count, height, width = variance.shape
    half = [4 * -(-scale * side // 8) for side in (height, width)]
    rows, columns = (
        (torch.arange(n, device=variance.device) * 2 // scale).clamp(max=side - 1)
        for n, side in zip(half, (height, width), strict=True)
    )
    strength = variance.sqrt()[:, rows[:, None], columns[None, :]]
    # By Parseval, the sum of the kernel's squares is the share of the spectrum that passes.
    passed = 0.25 * kernel.square().sum(dim=(-2, -1)).log().reshape(-1, 1, 1)
    factors = torch.ones_like(strength)
    return torch.stack(
        (strength, 0.5 * math.log(scale) * factors, passed * factors.expand(count, -1, -1)), dim=1
    )


@cache
def load_image_prior(path: Path | None = None) -> UnfoldedPrior:
    """Return the image prior on the CPU; parameters as in `load_kernel_estimator`."""
    file = path if path is not None else shipped_file(IMAGE_FILE)
    tensors, _ = read_tensors(file)
    network = UnfoldedPrior()
    fill(network, tensors, file)
    return network


IMAGE_FILE = "image.safetensors"
