"""The two generators: untrained networks whose weights are the unknowns of the optimisation.

The image generator is a deep image prior (Ulyanov et al., 2018) with non-local blocks; the
kernel generator is a two-layer perceptron ending in a softmax.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Generator, Tensor


LEVELS = 5
SKIP_CHANNELS = 16
INPUT_AMPLITUDE = 0.1
SMALLEST_SIDE = 2**LEVELS + 1
"""Sides below this do not fit the levels of the image generator."""


def _conv(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    if size == 1:
        return nn.Conv2d(inputs, outputs, 1, stride=stride)
    return nn.Conv2d(
        inputs, outputs, size, stride=stride, padding=size // 2, padding_mode="reflect"
    )


class _Block(nn.Module):
    """Convolution, batch norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs, size, stride=stride)
        self.norm = nn.BatchNorm2d(outputs, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.2, inplace=True)


class _NonLocal(nn.Module):
    """Non-local block in its dot-product form (Wang et al., 2018), residual.

    Without a softmax, y = (θᵀφ)gᵀ/N may be computed as θᵀ(φgᵀ)/N: linear in the pixels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2)
        phi = F.max_pool2d(self.phi(x), 2).flatten(2)
        g = F.max_pool2d(self.g(x), 2).flatten(2)
        attention = g @ phi.transpose(1, 2) / phi.shape[2]
        y = (attention @ theta).reshape(x.shape[0], -1, *x.shape[2:])
        result: Tensor = x + self.norm(self.out(y))
        return result


class _Level(nn.Module):
    """One level of the encoder–decoder, with everything below it."""

    def __init__(self, inputs: int, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = _Block(inputs, SKIP_CHANNELS, 1)
        self.down = _Block(inputs, channels, 3, stride=2)
        self.attention = _NonLocal(channels) if depth >= 2 else None
        self.encode = _Block(channels, channels, 3)
        self.below = _Level(channels, channels, depth + 1) if depth + 1 < LEVELS else None
        self.norm = nn.BatchNorm2d(SKIP_CHANNELS + channels, track_running_stats=False)
        self.decode = _Block(SKIP_CHANNELS + channels, channels, 3)
        self.mix = _Block(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(x)
        deep = self.down(x)
        if self.attention is not None:
            deep = self.attention(deep)
        deep = self.encode(deep)
        if self.below is not None:
            deep = self.below(deep)
        deep = F.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        deep = _crop(deep, skip.shape[-2:])
        skip = _crop(skip, deep.shape[-2:])
        result: Tensor = self.mix(self.decode(self.norm(torch.cat((skip, deep), dim=1))))
        return result


def _crop(x: Tensor, size: torch.Size) -> Tensor:
    """Centre-crop the two last axes to at most a size."""
    height, width = (min(have, want) for have, want in zip(x.shape[-2:], size, strict=True))
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


class ImageGenerator(nn.Module):
    """Encoder–decoder with skip connections whose output is the image.

    Batch norm always uses the statistics of the image at hand.

    Parameters
    ----------
    image_channels : int
        C, of input and output.
    width : int
        Channels inside.
    bounded : bool
        True ends in a sigmoid, so the image lies in (0, 1). False continues the sigmoid
        above 0.5 by its tangent: non-negative still, but with no upper bound. (An
        exponential tail reaches high peaks as well, but overshoots them.)
    """

    def __init__(self, image_channels: int, *, width: int = 128, bounded: bool = True) -> None:
        super().__init__()
        self.bounded = bounded
        self.levels = _Level(image_channels, width, 0)
        self.head = nn.Conv2d(width, image_channels, 1)

    def forward(self, noise: Tensor) -> Tensor:
        """Return the image, float32, for fixed noise; both (1, C, H, W)."""
        z = self.head(self.levels(noise)).float()
        if self.bounded:
            return torch.sigmoid(z)
        image: Tensor = torch.sigmoid(z.clamp_max(0)) + 0.25 * z.clamp_min(0)
        return image


class KernelGenerator(nn.Module):
    """Two-layer perceptron whose softmax output is the kernel.

    Parameters
    ----------
    size : int
        K, side of the kernel.
    """

    INPUTS = 200
    HIDDEN = 1000
    FLOOR = 1e-6
    """Smallest value of a kernel to start from: a softmax gives no zeros."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.hidden = nn.Linear(self.INPUTS, self.HIDDEN)
        self.out = nn.Linear(self.HIDDEN, size * size)

    def forward(self, code: Tensor) -> Tensor:
        """Return the kernel (K, K) for a fixed code (200,)."""
        return torch.softmax(self.out(F.relu6(self.hidden(code))), dim=0).reshape(
            self.size, self.size
        )

    @torch.no_grad()
    def begin_at(self, kernel: Tensor) -> None:
        """Shift the initialised output to near a kernel (K, K)."""
        self.out.bias.add_((kernel.flatten() + self.FLOOR).log())


def initialise(module: nn.Module, generator: Generator) -> None:
    """Draw all weights from PyTorch's default distributions with a CPU generator."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(part.weight, a=math.sqrt(5), generator=generator)
            if part.bias is not None:
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, _NonLocal):
            # A non-local block starts as the identity.
            nn.init.zeros_(part.norm.weight)


def build_image_generator(
    image_channels: int, *, width: int, bounded: bool, generator: Generator
) -> ImageGenerator:
    """Return an initialised image generator; torch's global random state is not used."""
    with torch.device("meta"):
        network = ImageGenerator(image_channels, width=width, bounded=bounded)
    network = network.to_empty(device="cpu")
    initialise(network, generator)
    return network


def build_kernel_generator(size: int, *, generator: Generator) -> KernelGenerator:
    """Return an initialised kernel generator; torch's global random state is not used."""
    with torch.device("meta"):
        network = KernelGenerator(size)
    network = network.to_empty(device="cpu")
    initialise(network, generator)
    return network
