"""Further training of the kernel estimator alone, with the image prior as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from training.joint import TINY, JointTask, blur_batch, interpolated, joint_batch, restore

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


def cost(image: Tensor, batch: Batch) -> Tensor:
    """Return what images cost, (n,): the logarithm of their error, more if they are harmful."""
    error = log_error(image, batch)
    return error + HARM_WEIGHT * F.relu(error - log_error(interpolated(batch), batch))


def log_error(image: Tensor, batch: Batch) -> Tensor:
    """Return the logarithms (n,) of the mean squared errors of images."""
    return ((image - batch.sharp).square().mean(dim=(1, 2)) + TINY).log()
