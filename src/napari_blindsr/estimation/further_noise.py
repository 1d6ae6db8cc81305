"""Noise that neighbouring pixels share, which their differences hardly show: how much to assume."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_blindsr.physics.noise import BLOCKING, STATISTICS, UNCOMPRESSED

LEVELS = (-math.inf, -1.5, -0.75, 0.0, 0.7, 1.4)
"""Logarithms of the levels to choose from, in units of the image's slope; the first is none."""

SMALLEST_GAIN = 0.05
"""By how much the logarithm of the squared error must fall for a level to be chosen."""

DISAGREEMENT = 0.5
"""By how much predictions are raised where they disagree, in units of their deviation."""

INPUTS = STATISTICS + 5
MEMBERS, WIDTH = 5, 96


class FurtherNoise(nn.Module):
    """Predicts what each of the `LEVELS` adds to the logarithm of the restored image's error.

    Several networks that differ by chance: where they disagree, the prediction is not relied on.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("spread", torch.ones(INPUTS))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(INPUTS, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, len(LEVELS) - 1),
            )
            for _ in range(MEMBERS)
        )

    def forward(self, known: Tensor) -> Tensor:
        """Return the predictions of all members, (M, n, L), from what is known of images (n, K)."""
        # Differences of a few hundredths decide.
        with torch.autocast(known.device.type, enabled=False):
            inputs = ((known.float() - self.mean) / self.spread).clamp(-4, 4)
            costs = torch.stack([member(inputs) for member in self.members])
        return nn.functional.pad(costs, (1, 0))

    @torch.no_grad()
    def level(self, known: Tensor) -> Tensor:
        """Return the noise (n,) to assume besides the estimated one, in units of the slope.

        None for JPEG images: their errors are not Gaussian.
        """
        costs = self(known)
        cautious = costs.mean(dim=0) + DISAGREEMENT * costs.std(dim=0)
        cautious[:, 0] = -SMALLEST_GAIN
        cautious[known[:, BLOCKING] > UNCOMPRESSED, 1:] = math.inf
        return known.new_tensor(LEVELS).exp()[cautious.argmin(dim=1)]


def known_of(statistics: Tensor, mean: Tensor, variance: Tensor, scale: int) -> Tensor:
    """Return what is known of images, (n, K), in no orientation.

    Their `noise_statistics` (n, S), and mean and variance of the log covariance of their blur,
    (n, 3) each.
    """
    half = 0.5 * (mean[:, 0] - mean[:, 1])
    deviation = 0.5 * variance.log()
    numbers = (
        mean[:, :2].mean(dim=1),
        torch.hypot(half, mean[:, 2]),
        deviation[:, :2].mean(dim=1),
        deviation[:, 2],
        torch.full_like(half, math.log2(scale) / 3),
    )
    return torch.cat((statistics, torch.stack(numbers, dim=1)), dim=1)
