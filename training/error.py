"""Training of what tells how far the image prior may be off."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from napari_blindsr.solvers.nonblind.data_step import LEVELS, WIDTHS
from napari_blindsr.solvers.nonblind.error_map import MEAN_ERROR, ErrorMap, unlikelihood
from napari_blindsr.solvers.nonblind.restorers import peak_unit
from training.batches import ImageBatch, image_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.nonblind.data_step import Round
    from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior


MISJUDGED = 0.6
"""How often a kernel is a little off, as estimates are."""

KEPT = 60
"""Restored batches that are kept, some 4 MB each of 8 crops of 96² pixels."""

AGAIN = 3
"""How many of these each step uses besides a new one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Restored:
    """What the last round left of a batch, the doubt (n,) of its kernels, its errors (n, H, W)."""

    last: Round
    doubt: Tensor
    error: Tensor


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
        self._kept: deque[_Restored] = deque(maxlen=KEPT)
        self._validation = [
            self._restored(image_batch(held_out, rng, side=side, count=count, misjudged=MISJUDGED))
            for _ in range(validation_batches)
        ]

    def resume(self, generators: Iterable[Generator]) -> None:
        """Restore the batches anew that the next steps use again."""
        self._kept.clear()
        for rng in deque(generators, maxlen=KEPT):
            self._kept.append(self._restored(self._batch(rng)))

    def loss(self, rng: Generator, progress: float) -> Tensor:  # noqa: ARG002 - as `Task` has it
        """Return the unlikelihood of the errors of a batch and of some batches before it.

        Restoring a batch takes far longer than telling its errors: what was restored is used
        several times.
        """
        new = self._restored(self._batch(rng))
        again = [
            self._kept[int(rng.integers(len(self._kept)))]
            for _ in range(AGAIN if self._kept else 0)
        ]
        self._kept.append(new)
        losses = [unlikelihood(self._told(self.network, one), one.error) for one in (new, *again)]
        return torch.stack(losses).mean()

    def _batch(self, rng: Generator) -> ImageBatch:
        side, count = self._size
        return image_batch(self._bank, rng, side=side, count=count, misjudged=MISJUDGED)

    @torch.no_grad()
    def _restored(self, batch: ImageBatch) -> _Restored:
        """Return what the prior makes of a batch, and how far it is off."""
        device = self._compute.device
        unit = _unit(batch)
        with self._compute.autocast:
            *_, last = self._prior.rounds(
                (unit * batch.data).to(device),
                batch.kernels.to(device),
                scale=batch.scale,
                noise=(unit * batch.noise).to(device),
            )
        error = last.image.float() - (unit * batch.sharp).to(device)
        return _Restored(last=last, doubt=batch.doubt.to(device), error=error)

    def _told(self, network: ErrorMap, one: _Restored) -> Tensor:
        with self._compute.autocast:
            expected: Tensor = network(one.last, one.doubt)
        return expected

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the unlikelihood, the rank correlation in an image, and the mean ratio."""
        assert isinstance(network, ErrorMap)
        losses, ranks, ratios = [], [], []
        for one in self._validation:
            expected = self._told(network, one)
            losses.append(float(unlikelihood(expected, one.error)))
            for told, true in zip(expected, one.error.abs(), strict=True):
                ranks.append(float(spearmanr(told.flatten(), true.flatten())[0]))
                ratios.append(float(true.mean() / (MEAN_ERROR * told.mean())))
        return {
            "unlikelihood": float(np.mean(losses)),
            "rank": float(np.nanmean(ranks)),
            "ratio": float(np.exp(np.mean(np.log(ratios)))),
        }


def _unit(batch: ImageBatch) -> Tensor:
    """Return by what (n, 1, 1) data are multiplied, as they are where a result is made of them."""
    brightest = batch.data.amax(dim=(-2, -1)).clamp(min=1e-3)
    unit = torch.where(batch.light, peak_unit(batch.kernels) / brightest, 1.0)
    return unit[:, None, None]
