"""USRNet: a deep unfolding network for super-resolution with a known kernel.

Zhang, Van Gool and Timofte, "Deep unfolding network for image super-resolution", CVPR
2020. Six iterations, each a data module in closed form and a prior module, a small
residual U-Net. The parts carry the names of the published tensors.
"""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from napari_blindsr.errors import InputError, WeightsError
from napari_blindsr.solvers.nonblind.borders import with_periodic_borders
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.weights import find_usrnet

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_blindsr.physics.observation import Observation


ITERATIONS = 6
WIDTHS = (16, 32, 64, 64)
COLOURS = 3


class _Residual(nn.Module):
    """3×3 convolution, ReLU, 3×3 convolution, plus identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.res(x)
        return result


def _down(inputs: int, outputs: int) -> nn.Sequential:
    strided = nn.Conv2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(_Residual(inputs), _Residual(inputs), strided)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    strided = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(strided, _Residual(outputs), _Residual(outputs))


class PriorModule(nn.Module):
    """The denoiser: a residual U-Net of four levels, without biases."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.m_head = nn.Conv2d(COLOURS + 1, a, 3, padding=1, bias=False)
        self.m_down1, self.m_down2, self.m_down3 = _down(a, b), _down(b, c), _down(c, d)
        self.m_body = nn.Sequential(_Residual(d), _Residual(d))
        self.m_up3, self.m_up2, self.m_up1 = _up(d, c), _up(c, b), _up(b, a)
        self.m_tail = nn.Conv2d(a, COLOURS, 3, padding=1, bias=False)

    def forward(self, image: Tensor, beta: Tensor) -> Tensor:
        """Return the image (n, 3, H, W) without noise of a level `beta`, (n, 1, 1, 1)."""
        height, width = image.shape[-2:]
        level = beta.expand(-1, 1, height, width)
        # Three levels halve the sides, so these have to be multiples of 8.
        x = F.pad(
            torch.cat((image, level), dim=1), (0, -width % 8, 0, -height % 8), mode="replicate"
        )
        first = self.m_head(x)
        second = self.m_down1(first)
        third = self.m_down2(second)
        fourth = self.m_down3(third)
        x = self.m_up3(self.m_body(fourth) + fourth)
        x = self.m_up1(self.m_up2(x + third) + second)
        result: Tensor = self.m_tail(x + first)[..., :height, :width]
        return result


class HyperModule(nn.Module):
    """Weights α and noise levels β of all iterations, from the noise level and the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2, 32, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 2 * ITERATIONS, 1),
            nn.Softplus(),
        )

    def forward(self, noise: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Return α and β, each (ITERATIONS, 1, 1, 1), of a scalar noise level and a scale."""
        inputs = torch.stack((noise, torch.full_like(noise, scale)))
        values = self.mlp(inputs.reshape(1, 2, 1, 1)) + 1e-6
        alpha, beta = values.reshape(2, ITERATIONS, 1, 1, 1)
        return alpha, beta


class USRNet(nn.Module):
    """USRNet-tiny, 590,332 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.p = PriorModule()
        self.h = HyperModule()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> USRNet:
        """Build the network from its published tensors, ready for evaluation.

        Raises
        ------
        WeightsError
            If a tensor is missing, is not expected, or has another shape.
        """
        with torch.device("meta"):
            network = cls()
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        received = {name: tuple(value.shape) for name, value in tensors.items()}
        for name in sorted(expected.keys() | received.keys()):
            if received.get(name) != expected.get(name):
                raise WeightsError(
                    f"these weights are not USRNet-tiny's: tensor {name!r} is "
                    f"{received.get(name, 'missing')}, expected {expected.get(name, 'none')}"
                )
        network.load_state_dict(
            {name: value.float() for name, value in tensors.items()}, assign=True
        )
        return network.requires_grad_(False).eval()

    def forward(
        self,
        data: Tensor,
        kernel: Tensor,
        *,
        scale: int,
        noise: float,
        measured: Tensor | None = None,
    ) -> Tensor:
        """Restore colour images (n, 3, h, w) with periodic borders; the result is (n, 3, s·h, s·w).

        `noise` is its standard deviation in `data`, which is only a guess where it is not
        `measured`.
        """
        alphas, betas = self.h(data.new_tensor(noise), scale)
        explain = DataModule(data, kernel, scale, measured=measured)
        image = F.interpolate(data, scale_factor=float(scale), mode="nearest")
        for alpha, beta in zip(alphas, betas, strict=True):
            image = self.p(explain(image, alpha), beta.expand(len(data), 1, 1, 1))
        return image


@torch.no_grad()
def usrnet(
    observation: Observation,
    kernel: Tensor,
    network: USRNet,
    *,
    noise: float = 0.0,
    colour: bool | None = None,
    measured: Tensor | None = None,
) -> Tensor:
    """Restore an observation with a known kernel (K, K); the result is not clipped.

    Parameters
    ----------
    noise : float
        σ, standard deviation of the noise in ``observation.data``; 0…about 0.1.
    colour : bool, optional
        Restore three channels together as red, green and blue; the default for three. Otherwise
        each channel is restored by itself as a grey image.
    measured : Tensor, bool, (h, w), optional
        Valid pixels; the others should hold a guess, from which the network starts.
    """
    data, scale = observation.data, observation.scale
    if colour and len(data) != COLOURS:
        raise InputError(f"the image has {len(data)} channels; colour takes three together")
    together = colour if colour is not None else len(data) == COLOURS

    def restore(data: Tensor, measured: Tensor | None) -> Tensor:
        if together:
            image: Tensor = network(data[None], kernel, scale=scale, noise=noise, measured=measured)
            return image[0]
        # The published weights know colour images only, so grey ones are repeated. One at a
        # time: the features of an image take far more memory than the image. Repeated noise does
        # not average out over the channels, as that of a colour image would.
        sigma = noise * math.sqrt(COLOURS)
        planes = [
            network(
                p.expand(1, COLOURS, -1, -1), kernel, scale=scale, noise=sigma, measured=measured
            )[0].mean(dim=0)
            for p in data
        ]
        return torch.stack(planes)

    return with_periodic_borders(observation, kernel.shape[-1], restore, measured=measured)


def load_usrnet(path: str | os.PathLike[str] | None = None, *, cache: Path | None = None) -> USRNet:
    """Return USRNet-tiny with its published weights, on the CPU; errors as in `find_usrnet`."""
    return read_usrnet(find_usrnet(path, cache=cache))


def read_usrnet(path: Path) -> USRNet:
    """Read USRNet-tiny from a file of tensors, whatever its checksum.

    Only tensors are read: nothing in the file is executed.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds other tensors.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged"
        raise WeightsError(f"{path} holds no weights that can be read: {reason}") from error
    if not isinstance(tensors, dict) or not all(torch.is_tensor(v) for v in tensors.values()):
        raise WeightsError(
            f"{path} holds {type(tensors).__name__}; expected a dict of tensors, USRNet-tiny's"
        )
    return USRNet.from_tensors(tensors)
