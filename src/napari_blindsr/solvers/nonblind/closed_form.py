"""Restore with a known kernel by the classical reconstruction, without an optimisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_blindsr.solvers.loop import Estimate, Step
from napari_blindsr.solvers.nonblind.sparse import sparse

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_blindsr.physics.observation import Observation


ROUNDS = 3
"""Rounds with missing pixels: the first uses a smooth continuation for data, the others the
prediction of the image before."""


@dataclass(kw_only=True)
class ClosedFormState:
    """The observation, and the canvas (C, H, W); None before the first round."""

    observation: Observation
    canvas: Tensor | None = None
    rounds: int = 0


class KnownKernelSolver:
    """Restore with a known kernel by the classical reconstruction.

    A restorer with a network starts from its prediction of missing pixels.

    Parameters
    ----------
    kernel : Tensor, (K, K)
    covered : bool
        Whether the observation has missing pixels.
    finished : bool
        Whether a restorer makes the image: then nothing is done without missing pixels.
    """

    def __init__(self, *, kernel: Tensor, covered: bool = False, finished: bool = False) -> None:
        self.kernel = kernel
        self.rounds = ROUNDS if covered else 1
        self._holds = finished and not covered

    @property
    def total(self) -> int:
        """Rounds planned."""
        return self.rounds

    @property
    def device(self) -> torch.device:
        """The device of the kernel."""
        return self.kernel.device

    @property
    def target(self) -> float | None:
        """None: nothing is fitted step by step."""
        return None

    def init(self, observation: Observation) -> ClosedFormState:
        """Return the state before the first round."""
        return ClosedFormState(observation=observation)

    def step(self, state: ClosedFormState) -> Step:
        """Restore from the data, completed by the prediction of the canvas."""
        observation = state.observation
        state.rounds += 1
        if self._holds:
            return Step(image_steps=state.rounds, stage="preparing the reconstruction")
        state.canvas = self._restore(observation, state.canvas)
        residual = observation.predict(state.canvas, self.kernel[None])[0] - observation.data
        squared = residual.square().mean()
        return Step(
            image_steps=state.rounds,
            stage="fitting the measurement",
            loss=squared,
            residual=squared,
        )

    def _restore(self, observation: Observation, before: Tensor | None) -> Tensor:
        if before is not None:
            data = observation.completed(before, self.kernel)
        else:
            data = observation.data if observation.guess is None else observation.guess
            data = data / observation.gain
        return sparse(
            replace(observation, data=data, gain=1.0),
            self.kernel,
            noise=observation.noise / observation.gain,
            measured=None if before is None else observation.measured,
            canvas=True,
        )

    def settle(self, state: ClosedFormState) -> int:
        """Return the rounds left; never called, as there is no target."""
        return self.rounds - state.rounds

    def estimate(self, state: ClosedFormState) -> Estimate:
        """Return canvas and kernel; a canvas that no one needs is empty."""
        if self._holds:
            empty = state.observation.data.new_zeros(())
            return Estimate(image=empty.expand(state.observation.canvas_shape), kernel=self.kernel)
        if state.canvas is None:
            state.canvas = self._restore(state.observation, None)
        return Estimate(image=state.canvas, kernel=self.kernel)
