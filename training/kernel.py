"""Training of the kernel estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from napari_blindsr.estimation.network import KernelEstimator, Votes
from napari_blindsr.physics.kernels.moments import log_covariance
from training.batches import KernelBatch, kernel_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_blindsr.solvers.device import Compute

FAMILY_WEIGHT = 0.3
INTERVAL = 1.645
"""Half-width of a normal distribution's 90 % interval, in standard deviations."""


class KernelTask:
    """Likelihood of the true covariance, and the cross entropy of its family.

    Parameters
    ----------
    bank, held_out : list of list of ndarray
        Pictures for training and for validation.
    compute : Compute
    validation_batches : int
    seed : int
    """

    name = "kernel"

    def __init__(
        self,
        bank: list[list[NDArray[np.uint8]]],
        held_out: list[list[NDArray[np.uint8]]],
        *,
        compute: Compute,
        validation_batches: int = 60,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = KernelEstimator().to(compute.device)
        self._bank = bank
        self._compute = compute
        rng = np.random.default_rng([seed, 1])
        self._validation = [kernel_batch(held_out, rng) for _ in range(validation_batches)]

    def resume(self, generators: Iterable[Generator]) -> None:
        """Do nothing: a step depends on those before it by the weights alone."""

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch."""
        del progress
        batch = kernel_batch(self._bank, rng)
        votes, target = self._read(self.network, batch)
        error = (votes.mean - target).square()
        likelihood = 0.5 * (votes.log_variance + error * (-votes.log_variance).exp())
        family = F.cross_entropy(votes.families, batch.family.to(error.device))
        # The likelihood alone learns little where it has learnt to be uncertain.
        return likelihood.mean() + 0.5 * error.mean() + FAMILY_WEIGHT * family

    def _read(self, network: nn.Module, batch: KernelBatch) -> tuple[Votes, Tensor]:
        device = self._compute.device
        with self._compute.autocast:
            votes: Votes = network(batch.planes.to(device), batch.scale)
        return votes, log_covariance(batch.covariance).to(device)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the error, the coverage of 90 % intervals and the accuracy of the families."""
        errors, covered, right, gaussian = [], [], [], []
        for batch in self._validation:
            votes, target = self._read(network, batch)
            error = votes.mean - target
            family = batch.family.to(error.device)
            errors.append(error)
            covered.append(error.abs() <= INTERVAL * (0.5 * votes.log_variance).exp())
            right.append(votes.families.argmax(dim=1) == family)
            gaussian.append(family == 0)
        error, chosen = torch.cat(errors), torch.cat(gaussian)
        return {
            "rmse": float(error.square().mean().sqrt()),
            "rmse_gaussian": float(error[chosen].square().mean().sqrt()),
            "median": float(error.abs().median()),
            "covered": float(torch.cat(covered).float().mean()),
            "family": float(torch.cat(right).float().mean()),
        }
