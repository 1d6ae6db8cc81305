"""The kernel estimator: a network that reads the width of the blur off an LR image.

A small convolutional network looks at normalised intensities and gradients. Each place of the
image votes for the covariance of the blur, its uncertainty, and its family; the votes are
pooled with weights that the network gives as well, so flat places count little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from napari_blindsr.weights.tensors import fill, read_tensors, shipped_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


FAMILY_ORDER = ("gaussian", "disk", "line", "motion", "airy")
"""Families in the order of the network's votes; what it was trained on."""

NARROWEST_BLUR = 0.14
"""Variance of the narrowest blur that the network knows, in HR px², over the scale."""

WIDEST_BLUR = 5.0
"""Variance of the widest blur that the network knows, in LR px²."""

COVARIANCE = 3
REFERENCE_AREA = 64 * 64
"""LR pixels of an image whose uncertainty needs no correction for its size."""

LARGEST_AREA = 128 * 128
"""Beyond, what a larger image would add is not trusted: it was not seen in training."""


SHARPEST_TILE = 256
"""Side in LR pixels of what is looked at of a larger image."""

TILES = 4
"""How many such tiles, those with the most detail, of a larger image."""

CORNER = 0.75
"""Side of the corners of an image that are read besides the whole of it: their mean errs less than
the whole does. What is sharp enough to vote, and what its contrast is measured by, differ between
them."""

TURNED, FLIPPED, REVERSED = 1, 2, 4
"""Bits of an orientation: transposed; then upside down; then turned by 180°."""

ORIENTATIONS = 8

SMALLEST_CORNER = 16
"""Their side in LR pixels at least: less was not trained on."""


@dataclass(frozen=True, kw_only=True)
class Votes:
    """What the network says of images.

    Attributes
    ----------
    mean : Tensor, (n, 3)
        Logarithm of the covariance in LR px², as `moments.log_covariance` writes it.
    log_variance : Tensor, (n, 3)
        Of the error of the mean.
    families : Tensor, (n, F)
        Logits of the families in `FAMILY_ORDER`.
    """

    mean: Tensor
    log_variance: Tensor
    families: Tensor


class _Block(nn.Module):
    """3×3 convolution, group normalisation, GELU; plus identity where shapes allow."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, outputs)
        self.identity = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.norm(self.conv(x)))
        return x + y if self.identity else y


class KernelEstimator(nn.Module):
    """The network.

    Parameters
    ----------
    widths : tuple of int
        Channels at the image's resolution, at half and at a quarter of it.
    """

    INPUTS = 4

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        a, b, c = widths
        outputs = 2 * COVARIANCE + 1 + len(FAMILY_ORDER)
        self.body = nn.Sequential(
            _Block(self.INPUTS, a),
            _Block(a, a),
            _Block(a, b, stride=2),
            _Block(b, b),
            _Block(b, b),
            _Block(b, c, stride=2),
            _Block(c, c),
            _Block(c, c),
        )
        self.vote = nn.Conv2d(c, outputs, 1)
        # The logarithm of the variance falls with that of the area, at a rate to be learnt.
        self.area_rate = nn.Parameter(torch.full((COVARIANCE,), -0.3))

    def forward(self, planes: Tensor, scale: int) -> Votes:
        """Read the blur of images.

        Parameters
        ----------
        planes : Tensor, (n, h, w)
            LR images in any unit.
        scale : int
            s; what is finer than an LR pixel may be blurred by less.
        """
        votes = self.vote(self.body(features(planes, scale))).float().flatten(2)
        weights = torch.softmax(votes[:, -1:], dim=2)
        pooled = (votes[:, :-1] * weights).sum(dim=2)
        mean, spread = pooled[:, :COVARIANCE], pooled[:, COVARIANCE : 2 * COVARIANCE]
        area = min(planes.shape[-1] * planes.shape[-2], LARGEST_AREA)
        spread = spread + self.area_rate * math.log(area / REFERENCE_AREA)
        return Votes(
            mean=mean,
            log_variance=spread.clamp(-10, 4),
            families=pooled[:, 2 * COVARIANCE :],
        )


def features(planes: Tensor, scale: int) -> Tensor:
    """Return what the network looks at: (n, 4, h, w).

    Intensities of mean 0 and standard deviation 1, both gradients in units of their common
    root mean square, and the logarithm of the scale.
    """
    centred = planes - planes.mean(dim=(1, 2), keepdim=True)
    spread = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    padded = F.pad(planes[:, None], (0, 1, 0, 1), mode="replicate")[:, 0]
    rows = padded[:, 1:, :-1] - planes
    columns = padded[:, :-1, 1:] - planes
    slope = ((rows.square() + columns.square()).mean(dim=(1, 2), keepdim=True) / 2).sqrt()
    tiny = torch.finfo(planes.dtype).tiny
    return torch.stack(
        (
            centred / (spread + tiny),
            rows / (slope + tiny),
            columns / (slope + tiny),
            torch.full_like(planes, math.log2(scale) / 3),
        ),
        dim=1,
    )


@dataclass(frozen=True, kw_only=True)
class BlurReading:
    """What an image tells of its blur.

    Attributes
    ----------
    mean : Tensor, (3,)
        Logarithm of the covariance in LR px², as `moments.log_covariance` writes it.
    deviation : Tensor, (3,)
        Standard deviation of its error.
    families : Tensor, (F,)
        Probabilities of the families in `FAMILY_ORDER`.
    """

    mean: Tensor
    deviation: Tensor
    families: Tensor

    @property
    def doubt(self) -> float:
        """Standard deviation of the error of the logarithm of the variances, as one number."""
        return float(self.deviation[:2].square().mean().sqrt())


@torch.no_grad()
def read_blur(
    planes: Tensor, scale: int, network: KernelEstimator, *, calibration: float = 1.0
) -> BlurReading:
    """Read the blur off an image, from all its channels, orientations and corners.

    Parameters
    ----------
    planes : Tensor, (C, h, w)
        The LR image; covered pixels filled in.
    scale : int
    network : KernelEstimator
        On the device of the planes.
    calibration : float
        By what the network's standard deviations are multiplied.
    """
    readings = [_read_tile(tile, scale, network) for tile in _tiles(planes)]
    means, variances, families = (torch.stack(values) for values in zip(*readings, strict=True))
    precision = 1 / variances
    mean = (precision * means).sum(dim=0) / precision.sum(dim=0)
    # Tiles and orientations share what makes the network err: their number is no gain.
    deviation = calibration * variances.mean(dim=0).sqrt()
    return BlurReading(mean=mean, deviation=deviation, families=families.mean(dim=0))


def _tiles(planes: Tensor) -> list[Tensor]:
    """Return the whole image, or the tiles of a large one that have the most detail."""
    height, width = planes.shape[-2:]
    side = SHARPEST_TILE
    if height * width <= TILES * side * side:
        return [planes]
    tiles = [
        planes[:, top : top + side, left : left + side]
        for top in range(0, max(1, height - side + 1), side)
        for left in range(0, max(1, width - side + 1), side)
    ]
    detail = torch.stack(
        [tile.diff(dim=-1).square().mean() + tile.diff(dim=-2).square().mean() for tile in tiles]
    )
    return [tiles[i] for i in detail.topk(min(TILES, len(tiles))).indices.tolist()]


def _parts(height: int, width: int) -> list[tuple[int, tuple[slice, slice]]]:
    """Return what to read of an image, and how it is turned: the whole and, unless tiny, corners.

    Of a large image or tile each corner is read in the two orientations that bring it to the top
    left.
    """
    whole = (slice(None), slice(None))
    parts = [(index, whole) for index in range(ORIENTATIONS)]
    rows, columns = round(CORNER * height), round(CORNER * width)
    if min(rows, columns) < SMALLEST_CORNER:
        return parts
    large = height * width >= SHARPEST_TILE**2
    for bottom, right, index in product((False, True), (False, True), range(ORIENTATIONS)):
        top, left = bottom * (height - rows), right * (width - columns)
        if not large or _at_top_left(bottom, right, index):
            parts.append((index, (slice(top, top + rows), slice(left, left + columns))))
    return parts


def _at_top_left(bottom: bool, right: bool, index: int) -> bool:
    """Return whether an orientation brings a corner of an image to its top left."""
    row, column = (right, bottom) if index & TURNED else (bottom, right)
    row ^= bool(index & FLIPPED)
    return row == column == bool(index & REVERSED)


def _read_tile(
    planes: Tensor, scale: int, network: KernelEstimator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of the logarithm, and the families' probabilities."""
    views = [planes.mean(dim=0), *planes] if len(planes) > 1 else [planes[0]]
    means, variances, families = [], [], []
    # Eight orientations at most of each part, shared out over the channels.
    for index, part in _parts(*planes.shape[-2:]):
        plane = views[index % len(views)][part]
        turned, flipped = bool(index & TURNED), bool(index & FLIPPED)
        plane = plane.T if turned else plane
        plane = plane.flip(0) if flipped else plane
        plane = plane.flip(0, 1) if index & REVERSED else plane
        votes = network(plane[None], scale)
        mean, variance = votes.mean[0], votes.log_variance[0].exp()
        sign = mean.new_tensor([1, 1, -1 if flipped else 1])
        order = [1, 0, 2] if turned else [0, 1, 2]
        means.append((mean * sign)[order])
        variances.append(variance[order])
        families.append(votes.families[0].softmax(dim=0))
    return (
        torch.stack(means).mean(dim=0),
        torch.stack(variances).mean(dim=0),
        torch.stack(families).mean(dim=0),
    )


@cache
def load_kernel_estimator(path: Path | None = None) -> tuple[KernelEstimator, float]:
    """Return the kernel estimator on the CPU, and its calibration.

    Parameters
    ----------
    path : Path, optional
        A file of weights from a training; by default the one that ships.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds other tensors.
    """
    file = path if path is not None else shipped_file(KERNEL_FILE)
    tensors, record = read_tensors(file)
    network = KernelEstimator()
    fill(network, tensors, file)
    return network, float(record.get("calibration", CALIBRATION))


CALIBRATION = 1.0
"""By what the kernel estimator's standard deviations are multiplied, unless its file tells: too
large for what was trained on, right for photographs, too small for stranger pictures; see
docs/benchmarks."""

KERNEL_FILE = "kernel.safetensors"
