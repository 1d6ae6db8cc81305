"""The kernel estimator: a network that estimates the covariance of the blur of an LR image.

A small convolutional network gets normalised intensities and gradients. Each place of the image
votes for the covariance of the blur, its uncertainty, and its family; the mean of the votes is
weighted by the network, so that flat places count little.
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

from napari_blindsr.estimation.further_noise import FurtherNoise, known_of
from napari_blindsr.estimation.posterior import BlurPosterior
from napari_blindsr.images.planes import canonical
from napari_blindsr.solvers.nonblind.conditions import Decision
from napari_blindsr.weights.tensors import fill, read_tensors, shipped_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


FAMILY_ORDER = ("gaussian", "disk", "line", "motion", "airy")
"""Families in the order of the network's outputs; those that it was trained on."""

NARROWEST_BLUR = 0.14
"""Variance of the narrowest blur of the training, in HR px², over the scale."""

WIDEST_BLUR = 5.0
"""Variance of the widest blur of the training, in LR px²."""

COVARIANCE = 3
OUTLOOK = 24
"""Features of an image for the decision, besides the posterior."""

FIRST = 3
"""Of the `noise_statistics`, the decision uses the first ones."""

REFERENCE_AREA = 64 * 64
"""LR pixels of an image whose uncertainty needs no correction for its size."""

LARGEST_AREA = 128 * 128
"""Area beyond which the uncertainty does not fall: larger images were not trained on."""


SHARPEST_TILE = 256
"""Side in LR pixels of the windows of a larger image that are evaluated."""

TILES = 4
"""Number of such windows, those with the most detail."""

CORNER = 0.75
"""Relative side of the corners of an image that are evaluated besides the whole: their mean errs
less than the whole does."""

TURNED, FLIPPED, REVERSED = 1, 2, 4
"""Bits of an orientation: transposed; then upside down; then turned by 180°."""

WHOLE = (0, 3, 4, 7)
CORNERS = (1, 2, 5, 6)
"""Orientations in which the whole of an image and its four corners are evaluated."""

SMALLEST_CORNER = 16
"""Their smallest side in LR pixels; smaller images were not trained on."""


@dataclass(frozen=True, kw_only=True)
class Votes:
    """The network's output for images.

    Attributes
    ----------
    mean : Tensor, (n, 3)
        Logarithm of the covariance in LR px², as `moments.log_covariance` writes it.
    log_variance : Tensor, (n, 3)
        Of the error of the mean.
    families : Tensor, (n, F)
        Logits of the families in `FAMILY_ORDER`.
    outlook : Tensor, (n, OUTLOOK)
        Features for the decision.
    """

    mean: Tensor
    log_variance: Tensor
    families: Tensor
    outlook: Tensor


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

    INPUTS = 6

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
        self.look = nn.Conv2d(c, OUTLOOK + 1, 1)
        inputs = OUTLOOK + 2 * COVARIANCE + len(FAMILY_ORDER) + FIRST + 4
        last = nn.Linear(64, COVARIANCE + 2)
        self.decision = nn.Sequential(
            nn.Linear(inputs, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), last
        )
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([-0.15, -0.15, 0.0, 0.2, -4.5]))
        self.further_noise = FurtherNoise()
        # The log variance falls with the log area, at a learned rate.
        self.area_rate = nn.Parameter(torch.full((COVARIANCE,), -0.3))

    def forward(self, planes: Tensor, scale: int, optics: Tensor | None = None) -> Votes:
        """Estimate the blur of LR images (n, h, w) in any unit.

        `optics` (n,) is the log variance of the diffraction-limited blur in LR px², or NaN.
        """
        body = self.body(features(planes, scale, optics))
        votes = self.vote(body).float().flatten(2)
        looks = self.look(body).float().flatten(2)
        outlook = (looks[:, :-1] * torch.softmax(looks[:, -1:], dim=2)).sum(dim=2)
        weights = torch.softmax(votes[:, -1:], dim=2)
        pooled = (votes[:, :-1] * weights).sum(dim=2)
        mean, spread = pooled[:, :COVARIANCE], pooled[:, COVARIANCE : 2 * COVARIANCE]
        area = min(planes.shape[-1] * planes.shape[-2], LARGEST_AREA)
        spread = spread + self.area_rate * math.log(area / REFERENCE_AREA)
        return Votes(
            mean=mean,
            log_variance=spread.clamp(-10, 4),
            families=pooled[:, 2 * COVARIANCE :],
            outlook=outlook,
        )

    def decide(
        self,
        votes: Votes,
        statistics: Tensor,
        *,
        scale: int,
        area: int,
        optics: Tensor | None = None,
    ) -> Tensor:
        """Return the corrections with which images are best restored, (n, 5).

        Three terms added to the mean log covariance; the logarithm of a factor for the noise; and
        that of further noise, in units of the images' slope. Trained for the error of the restored
        image, which too wide a kernel raises far more than too narrow a one. `area` is that of an
        image in LR pixels.
        """
        known, diffraction = optics_inputs(votes.mean[:, 0], optics)
        like = votes.mean.new_ones(len(votes.mean), 1)
        inputs = torch.cat(
            (
                votes.outlook,
                votes.mean,
                0.5 * votes.log_variance,
                votes.families.softmax(dim=1),
                statistics[:, :FIRST],
                known[:, None],
                diffraction[:, None],
                math.log2(scale) / 3 * like,
                math.log(min(area, LARGEST_AREA) / REFERENCE_AREA) * like,
            ),
            dim=1,
        )
        decided: Tensor = self.decision(inputs)
        return decided


def optics_inputs(like: Tensor, optics: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return whether optics are known (n,), and the logarithm of their variance or 0 (n,)."""
    if optics is None:
        return torch.zeros_like(like), torch.zeros_like(like)
    known = ~optics.isnan()
    return known.to(like.dtype), torch.where(known, optics, 0.0).to(like.dtype) / 2


def features(planes: Tensor, scale: int, optics: Tensor | None = None) -> Tensor:
    """Return the network's input, (n, 6, h, w).

    Intensities of mean 0 and standard deviation 1, both gradients in units of their common
    root mean square, the logarithm of the scale, and the optics.
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
            *(
                value[:, None, None].expand_as(planes)
                for value in optics_inputs(planes[:, 0, 0], optics)
            ),
        ),
        dim=1,
    )


@torch.no_grad()
def blur_posterior(
    planes: Tensor,
    scale: int,
    network: KernelEstimator,
    *,
    calibration: float = 1.0,
    statistics: Sequence[float] | None = None,
    optics: float = math.nan,
) -> BlurPosterior:
    """Return the posterior of an image from its channels, several orientations and its corners.

    `planes` (C, h, w) have no missing pixels; `statistics` are their `noise_statistics`, without
    which no further noise is assumed; `calibration` is a factor of the network's standard
    deviations; `optics` is the log variance of the diffraction-limited blur in LR px², or NaN.
    """
    orientation = canonical(planes.cpu().numpy())
    described = planes.new_tensor([[0.0] * FIRST if statistics is None else list(statistics)])
    conditions = described, planes.new_tensor([optics])
    tiles = _tiles(orientation.apply(planes))
    posteriors = [_estimate_tile(tile, scale, network, *conditions) for tile in tiles]
    means, variances, families, decisions = (
        torch.stack(values) for values in zip(*posteriors, strict=True)
    )
    precision = 1 / variances
    mean = (precision * means).sum(dim=0) / precision.sum(dim=0)
    # Tiles and orientations share the network's error, so their number does not reduce it.
    deviation = calibration * variances.mean(dim=0).sqrt()
    decided = decisions.mean(dim=0)
    if statistics is not None:
        known = known_of(described, mean[None], variances.mean(dim=0)[None], scale)
        decided[4] = torch.hypot(decided[4].exp(), network.further_noise.level(known)[0]).log()
    if orientation.transposed:
        mean, deviation = mean[[1, 0, 2]], deviation[[1, 0, 2]]
        decided = decided[[1, 0, 2, 3, 4]]
    if orientation.rows != orientation.columns:
        mixed = mean.new_tensor([1, 1, -1])
        mean, decided = mean * mixed, decided * decided.new_tensor([1, 1, -1, 1, 1])
    return BlurPosterior(
        mean=mean,
        deviation=deviation,
        families=families.mean(dim=0),
        decision=Decision.of(decided),
    )


def _tiles(planes: Tensor) -> list[Tensor]:
    """Return the whole image, or the windows of a large one that have the most detail."""
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
    """Return the windows of an image with their orientations: the whole, and corners."""
    whole = (slice(None), slice(None))
    parts = [(index, whole) for index in WHOLE]
    rows, columns = round(CORNER * height), round(CORNER * width)
    if min(rows, columns) < SMALLEST_CORNER:
        return parts
    corners = product((0, height - rows), (0, width - columns))
    for index, (top, left) in zip(CORNERS, corners, strict=True):
        parts.append((index, (slice(top, top + rows), slice(left, left + columns))))
    return parts


def _estimate_tile(
    planes: Tensor, scale: int, network: KernelEstimator, statistics: Tensor, optics: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean and variance of the log covariance, the families' probabilities, the decision."""
    views = [planes.mean(dim=0), *planes] if len(planes) > 1 else [planes[0]]
    outputs = []
    # Each orientation uses another channel.
    for number, (index, part) in enumerate(_parts(*planes.shape[-2:])):
        plane = views[number % len(views)][part]
        turned, flipped = bool(index & TURNED), bool(index & FLIPPED)
        plane = plane.T if turned else plane
        plane = plane.flip(0) if flipped else plane
        plane = plane.flip(0, 1) if index & REVERSED else plane
        votes = network(plane[None], scale, optics)
        decided = network.decide(
            votes, statistics, scale=scale, area=planes[0].numel(), optics=optics
        )[0]
        sign = decided.new_tensor([1, 1, -1 if flipped else 1, 1, 1])
        order = [1, 0, 2] if turned else [0, 1, 2]
        outputs.append(
            (
                (votes.mean[0] * sign[:3])[order],
                votes.log_variance[0].exp()[order],
                votes.families[0].softmax(dim=0),
                (decided * sign)[[*order, 3, 4]],
            )
        )
    mean, variance, families, decision = (
        torch.stack(values).mean(dim=0) for values in zip(*outputs, strict=True)
    )
    return mean, variance, families, decision


@cache
def load_kernel_estimator(path: Path | None = None) -> tuple[KernelEstimator, float]:
    """Return the kernel estimator on the CPU, and its calibration.

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
"""Factor of the kernel estimator's standard deviations, unless its file has one: too large for the
training data, right for photographs, too small for unusual pictures; see docs/benchmarks."""

KERNEL_FILE = "kernel.safetensors"
