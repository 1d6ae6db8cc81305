"""Training of the map of the image prior's errors."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from napari_blindsr.solvers.nonblind.data_step import LEVELS, WIDTHS
from napari_blindsr.solvers.nonblind.error_map import MEAN_ERROR, ErrorMap, unlikelihood
from training.joint import Batch, Both, joint_batch, restore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from torch import Tensor, nn

    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.nonblind.data_step import Round
    from training.scenes import Scenes

KEPT = 60
"""Restored batches that are kept, some 4 MB each."""

AGAIN = 3
"""Number of kept batches that each step uses besides a new one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Restored:
    """The last round of a batch, the uncertainty of its kernels (n,), and its errors."""

    last: Round
    log_variance_sd: Tensor
    error: Tensor


class ErrorTask:
    """Likelihood of the errors of a fixed image prior.

    Parameters
    ----------
    scenes, held_out : Scenes
        For training and for validation.
    both : Both
        The networks whose errors are predicted.
    compute : Compute
    validation_batches : int
    seed : int
    """

    name = "error"

    def __init__(
        self,
        scenes: Scenes,
        held_out: Scenes,
        both: Both,
        *,
        compute: Compute,
        validation_batches: int = 20,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = ErrorMap(WIDTHS[0], LEVELS).to(compute.device)
        self._both = both
        self._scenes = scenes
        self._compute = compute
        rng = np.random.default_rng([seed, 1])
        self._kept: deque[_Restored] = deque(maxlen=KEPT)
        self._validation = [
            self._restored(joint_batch(held_out, rng)) for _ in range(validation_batches)
        ]

    def resume(self, generators: Iterable[Generator]) -> None:
        """Restore the batches again that the next steps use."""
        self._kept.clear()
        for rng in deque(generators, maxlen=KEPT):
            self._kept.append(self._restored(joint_batch(self._scenes, rng)))

    def loss(self, rng: Generator, progress: float) -> Tensor:  # noqa: ARG002 - as `Task` has it
        """Return the negative log likelihood of the errors of a new batch and of some kept ones.

        Restoring a batch takes far longer than predicting its errors, so each is used several
        times.
        """
        new = self._restored(joint_batch(self._scenes, rng))
        again = [
            self._kept[int(rng.integers(len(self._kept)))]
            for _ in range(AGAIN if self._kept else 0)
        ]
        self._kept.append(new)
        losses = [
            unlikelihood(self._predicted(self.network, one), one.error) for one in (new, *again)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _restored(self, batch: Batch) -> _Restored:
        """Return the prior's restoration of a batch, with its errors."""
        rounds, votes = restore(self._both, batch, self._compute)
        log_variance_sd = votes.log_variance[:, :2].exp().mean(dim=1).sqrt()
        return _Restored(
            last=rounds[-1],
            log_variance_sd=torch.where(batch.blind, log_variance_sd, 0.0),
            error=rounds[-1].image.float() - batch.sharp,
        )

    def _predicted(self, network: ErrorMap, one: _Restored) -> Tensor:
        with self._compute.autocast:
            expected: Tensor = network(one.last, one.log_variance_sd)
        return expected

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the unlikelihood, the rank correlation in an image, and the mean ratio."""
        assert isinstance(network, ErrorMap)
        losses, ranks, ratios = [], [], []
        for one in self._validation:
            expected = self._predicted(network, one)
            losses.append(float(unlikelihood(expected, one.error)))
            for predicted, true in zip(expected, one.error.abs(), strict=True):
                ranks.append(float(spearmanr(predicted.flatten(), true.flatten())[0]))
                ratios.append(float(true.mean() / (MEAN_ERROR * predicted.mean())))
        return {
            "unlikelihood": float(np.mean(losses)),
            "rank": float(np.nanmean(ranks)),
            "ratio": float(np.exp(np.mean(np.log(ratios)))),
        }
