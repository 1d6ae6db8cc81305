"""Further training of one of the two networks, with the other as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from training.joint import (
    JointTask,
    blur_batch,
    error_of,
    given_for,
    interpolated,
    joint_batch,
    log_error,
    restore,
    restored,
)

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from training.joint import Batch

HARM_WEIGHT = 0.5
"""How much more it costs to be worse than interpolation than not to be better."""


class BlurTask(JointTask):
    """The likelihood of the true blur; a batch takes a fifth of the time of a joint one."""

    name = "blur"
    trained = ("estimator.",)

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch."""
        del progress
        batch = blur_batch(self._scenes, rng)
        with self._compute.autocast:
            votes = self.network.estimator(batch.planes, batch.scale, batch.optics)
        return self.likelihood(votes, batch.covariance, batch.family)


class DecisionTask(JointTask):
    """The error of the restored image, for the decision alone: posterior and prior are held."""

    name = "decision"
    trained = ("estimator.look", "estimator.decision")

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch."""
        del progress
        batch = joint_batch(self._scenes, rng, blind=1.0)
        rounds, _ = restore(self.network, batch, self._compute)
        return cost(rounds[-1].image, batch).mean()


class PriorTask(JointTask):
    """The error of the restored image, for the image prior alone."""

    name = "prior"
    trained = ("prior.",)

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch."""
        del progress
        batch = joint_batch(self._scenes, rng)
        with torch.no_grad():
            given = given_for(self.network, batch, self._compute)
        return error_of(restored(self.network, batch, given, self._compute), batch)


def cost(image: Tensor, batch: Batch) -> Tensor:
    """Return what images cost, (n,): the logarithm of their error, more if they are harmful."""
    error = log_error(image, batch)
    return error + HARM_WEIGHT * F.relu(error - log_error(interpolated(batch), batch))
