"""Training of what tells how far the image prior may be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from napari_blindsr.engine.nonblind.error_map import MEAN_ERROR, ErrorMap, unlikelihood
from napari_blindsr.engine.nonblind.unfolded import LEVELS, WIDTHS
from napari_blindsr.training.batches import ImageBatch, image_batch

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_blindsr.engine.device import Compute
    from napari_blindsr.engine.nonblind.unfolded import UnfoldedPrior


MISJUDGED = 0.6
"""How often a kernel is a little off, as estimates are."""


class ErrorTask:
    """Likelihood of the errors of an image prior that stays as it is.

    Parameters
    ----------
    bank, held_out : list of list of ndarray
        Pictures to train on, and others to judge by.
    prior : UnfoldedPrior
        Whose errors they are.
    compute : Compute
    side, count : int
        Side of crops and how many make a batch.
    validation_batches : int
    seed : int
    """

    name = "error"

    def __init__(
        self,
        bank: list[list[NDArray[np.uint8]]],
        held_out: list[list[NDArray[np.uint8]]],
        *,
        prior: UnfoldedPrior,
        compute: Compute,
        side: int,
        count: int,
        validation_batches: int = 12,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = ErrorMap(WIDTHS[0], LEVELS).to(compute.device)
        self._prior = prior.to(compute.device)
        self._bank = bank
        self._compute = compute
        self._size = (side, count)
        rng = np.random.default_rng([seed, 1])
        self._validation = [
            image_batch(held_out, rng, side=side, count=count, misjudged=MISJUDGED)
            for _ in range(validation_batches)
        ]

    def loss(self, rng: Generator, progress: float) -> Tensor:  # noqa: ARG002 - as `Task` has it
        """Return the unlikelihood of the errors of a batch."""
        side, count = self._size
        return unlikelihood(
            *self._errors(
                self.network,
                image_batch(self._bank, rng, side=side, count=count, misjudged=MISJUDGED),
            )
        )

    def _errors(self, network: ErrorMap, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return what is expected of the errors of a batch, and the errors."""
        device = self._compute.device
        with self._compute.autocast:
            with torch.no_grad():
                *_, last = self._prior.rounds(
                    batch.data.to(device),
                    batch.kernels.to(device),
                    scale=batch.scale,
                    noise=batch.noise.to(device),
                )
            expected = network(last, batch.doubt.to(device))
        return expected, last.image.float() - batch.sharp.to(device)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the unlikelihood, the rank correlation in an image, and the mean ratio."""
        assert isinstance(network, ErrorMap)
        losses, ranks, ratios = [], [], []
        for batch in self._validation:
            expected, error = self._errors(network, batch)
            losses.append(float(unlikelihood(expected, error)))
            for told, true in zip(expected, error.abs(), strict=True):
                ranks.append(float(spearmanr(told.flatten(), true.flatten())[0]))
                ratios.append(float(true.mean() / (MEAN_ERROR * told.mean())))
        return {
            "unlikelihood": float(np.mean(losses)),
            "rank": float(np.nanmean(ranks)),
            "ratio": float(np.exp(np.mean(np.log(ratios)))),
        }
