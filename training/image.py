"""Training of the image prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior
from training.batches import ImageBatch, image_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_blindsr.solvers.device import Compute

EARLIER = 0.15
"""Weight of the earlier rounds in the loss."""


TINY = 1e-6
"""Added to mean squared errors: a PSNR of 60 dB is perfect."""


class ImageTask:
    """Mean PSNR of the image, and a little of that of the earlier rounds.

    Parameters
    ----------
    bank, held_out : list of list of ndarray
        Pictures for training and for validation.
    compute : Compute
    side, count : int
        Side of the crops and their number in a batch.
    validation_batches : int
    seed : int
    """

    name = "image"

    def __init__(
        self,
        bank: list[list[NDArray[np.uint8]]],
        held_out: list[list[NDArray[np.uint8]]],
        *,
        compute: Compute,
        side: int,
        count: int,
        validation_batches: int = 12,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        layout = compute.layout(gradients=True)
        network = UnfoldedPrior().to(compute.device)
        # torch's annotations leave this overload out.
        self.network: UnfoldedPrior = network.to(memory_format=layout)  # type: ignore[call-overload]
        self._bank = bank
        self._compute = compute
        self._size = (side, count)
        rng = np.random.default_rng([seed, 1])
        self._validation = [
            image_batch(held_out, rng, side=side, count=count) for _ in range(validation_batches)
        ]

    def resume(self, generators: Iterable[Generator]) -> None:
        """Do nothing: a step depends on those before it by the weights alone."""

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch; of larger crops late in the training."""
        side, count = self._size
        if progress > 0.7:
            side, count = 3 * side // 2, max(1, count // 2)
        batch = image_batch(self._bank, rng, side=side, count=count)
        # Logarithms let each crop count alike, be it easy or hopeless: by decibels.
        errors = torch.stack(
            [
                ((x - t).square().mean(dim=(1, 2)) + TINY).log().mean()
                for x, t in self._restore(self.network, batch)
            ]
        )
        weights = torch.full_like(errors, EARLIER)
        weights[-1] = 1
        return (weights * errors).sum()

    def _restore(self, network: UnfoldedPrior, batch: ImageBatch) -> list[tuple[Tensor, Tensor]]:
        device = self._compute.device
        truth = batch.sharp.to(device)
        with self._compute.autocast:
            rounds = network.rounds(
                batch.data.to(device),
                batch.kernels.to(device),
                scale=batch.scale,
                noise=batch.noise.to(device),
            )
            return [(one.image, truth) for one in rounds]

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR of the first and last round, peak 1."""
        assert isinstance(network, UnfoldedPrior)
        first: list[Tensor] = []
        last: list[Tensor] = []
        for batch in self._validation:
            restored = self._restore(network, batch)
            for values, (image, truth) in zip(
                (first, last), (restored[0], restored[-1]), strict=True
            ):
                power = (image - truth).square().mean(dim=(1, 2))
                values.append(-10 * power.log10())
        return {
            "psnr_first": float(torch.cat(first).mean()),
            "psnr": float(torch.cat(last).mean()),
        }
