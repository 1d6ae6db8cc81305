"""A network that predicts the error of the image prior's result in each pixel.

It gets the features and the last changes of the unfolded optimisation and returns the mean absolute
error that similar images had there: a heteroscedastic likelihood (Kendall and Gal, NeurIPS 2017).
Trained with fixed weights of the image prior, on known and on estimated kernels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from napari_blindsr.solvers.nonblind.data_step import LEVELS, WIDTHS
from napari_blindsr.weights.tensors import fill, read_tensors, shipped_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_blindsr.solvers.nonblind.data_step import Round


MEAN_ERROR = math.sqrt(2 / math.pi)
"""Mean absolute value of a normal distribution of standard deviation 1."""

LEAST = 1e-4
"""Smallest standard deviation, in units of the range of the data."""

UNCERTAINTY = 3.0
"""Factor that brings a usual uncertainty of the kernel to the magnitude of the other conditions."""

WIDTH = 48

FOLDED = 4
"""Planes that are folded to half the resolution: two changes, two gradients."""

CONDITIONS = 3
"""Numbers for a whole image: scale, kernel and the kernel's uncertainty."""

LARGEST_GAIN = 3.0
"""Logarithm of the largest factor by which conditions change a feature."""


class ErrorMap(nn.Module):
    """From the last round to the standard deviation of the image's error.

    Like the denoiser it has no biases: an image twice as bright with twice the noise has twice the
    error. The error at an edge depends on scale and kernel, so these multiply the features (Perez
    et al., FiLM, AAAI 2018).

    Parameters
    ----------
    features : int
        Of the denoiser.
    levels : int
        Maps of noise, scale and kernel.
    """

    def __init__(self, features: int, levels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(features + levels + 1 + 4 * FOLDED, WIDTH, 3, padding=1, bias=False)
        self.body = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.tail = nn.Conv2d(WIDTH, 4, 3, padding=1, bias=False)
        last = nn.Linear(32, 2 * WIDTH)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gains = nn.Sequential(nn.Linear(CONDITIONS, 32), nn.ReLU(), last)

    def forward(self, last: Round, log_variance_sd: Tensor) -> Tensor:
        """Return standard deviations (n, H, W) in the unit of the image.

        Errors are not normal: a standard deviation σ means that their mean absolute value is
        √(2/π)·σ.

        Parameters
        ----------
        last : Round
        log_variance_sd : Tensor, (n,) or a scalar
            Standard deviation of the error of the kernel's log variances; 0 for a known kernel.
        """
        image = last.image.float()
        height, width = image.shape[-2:]
        planes = torch.stack(
            (
                image - last.explained,
                image - last.before,
                F.pad(image.diff(dim=-1), (0, 1)),
                F.pad(image.diff(dim=-2), (0, 0, 0, 1)),
            ),
            dim=1,
        )
        planes = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
        folded = F.pixel_unshuffle(planes, 2)
        uncertain = UNCERTAINTY * log_variance_sd.reshape(-1, 1, 1, 1) * last.noise[:, None]
        levels = torch.cat((last.levels, uncertain.expand_as(last.levels[:, :1])), dim=1)
        first, second = self._gains(last, log_variance_sd)
        one = first * F.relu(self.head(torch.cat((last.memory, folded, levels), dim=1)))
        two = second * F.relu(self.body(one))
        error = F.pixel_shuffle(self.tail(two), 2)[:, 0, :height, :width].float()
        deviation: Tensor = (error.square() + LEAST**2).sqrt()
        return deviation

    def _gains(self, last: Round, log_variance_sd: Tensor) -> tuple[Tensor, Tensor]:
        """Return factors (n, WIDTH, 1, 1) of the two layers' features."""
        # The levels of scale and kernel are the same everywhere.
        conditions = torch.cat(
            (
                last.levels[:, 1:, 0, 0] / last.noise[:, 0],
                UNCERTAINTY * log_variance_sd.reshape(-1, 1).expand(len(last.noise), 1),
            ),
            dim=1,
        )
        logarithms = LARGEST_GAIN * torch.tanh(self.gains(conditions) / LARGEST_GAIN)
        first, second = logarithms.exp()[..., None, None].chunk(2, dim=1)
        return first, second


def unlikelihood(deviation: Tensor, error: Tensor) -> Tensor:
    """Return the mean negative log likelihood of errors, up to a constant.

    That of a Laplace distribution: its minimum is where √(2/π) times the deviation is the mean
    absolute error.
    """
    expected = MEAN_ERROR * deviation
    loss: Tensor = (expected.log() + error.abs() / expected).mean()
    return loss


@cache
def load_error_map(path: Path | None = None) -> ErrorMap:
    """Return the error map on the CPU; parameters as in `load_kernel_estimator`."""
    file = path if path is not None else shipped_file(ERROR_FILE)
    tensors, _ = read_tensors(file)
    network = ErrorMap(WIDTHS[0], LEVELS)
    fill(network, tensors, file)
    return network


ERROR_FILE = "error.safetensors"
