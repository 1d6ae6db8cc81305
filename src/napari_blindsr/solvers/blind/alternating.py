"""The alternating optimisation of MLMC and DDSR: one image and one kernel generator.

Numbers in brackets refer to the phases in docs/method: [1] random kernel learning, [2a]
Monte-Carlo step, [2b] image steps, [2c] meta step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.solvers.blind.generators import (
    INPUT_AMPLITUDE,
    ImageGenerator,
    build_image_generator,
)
from napari_blindsr.solvers.blind.kernel_step import (
    HeldKernel,
    KernelState,
    adam,
    draw_more,
    hand_over,
    kernel_step,
    monte_carlo_step,
    renew,
    start_kernel,
)
from napari_blindsr.solvers.blind.losses import StructuralSimilarity, gradient_prior
from napari_blindsr.solvers.cuda_graphs import captured
from napari_blindsr.solvers.loop import Estimate, Step, Weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_blindsr.methods import Schedule
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.solvers.device import Compute


NOISE_MARGIN = 0.8
"""A fit explains some of the noise before it has explained all of the image."""

NOISE_PRIOR = 0.5
"""Weight of the gradient prior in units of the noise's power, once structure is fitted."""

GOOD_EVERY = 20
"""Image steps between two saved states."""

CAREFUL = 0.1
"""Factor of the step size after a restart."""

WARMUP_CHUNK = 20
"""Kernel steps between two reports of the warm-up, so that a stop takes effect soon."""


@dataclass(kw_only=True)
class ImageState:
    """The image generator and its optimiser; `evaluate` uses captured graphs where that works."""

    network: ImageGenerator
    noise: Tensor
    optimiser: torch.optim.Adam
    evaluate: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class GoodState:
    """A saved state.

    Attributes
    ----------
    image, kernel : dict of str to Tensor
        Weights of the generators; empty for a known kernel.
    last, mean : Estimate or None
    mean_count : int
    """

    image: dict[str, Tensor]
    kernel: dict[str, Tensor]
    last: Estimate | None
    mean: Estimate | None
    mean_count: int

    @property
    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        weights = (*self.image.values(), *self.kernel.values())
        return all(bool(value.isfinite().all()) for value in weights)


@dataclass(kw_only=True)
class AlternatingState:
    """Everything that changes during a run.

    Attributes
    ----------
    good : list of GoodState
        The latest two saved states: the host learns of a divergence late, when the latest may be
        bad.
    careful : bool
        Whether the run was restarted.
    """

    observation: Observation
    structural: StructuralSimilarity
    image_part: ImageState
    kernel_part: KernelState | HeldKernel
    warmup_done: int = 0
    settled: bool = False
    image_steps: int = 0
    last: Estimate | None = None
    mean: Estimate | None = None
    mean_count: int = 0
    good: list[GoodState] = field(default_factory=list)
    careful: bool = False


@dataclass(kw_only=True, eq=False)
class AlternatingSolver:
    """Alternate between an image generator and a kernel generator.

    Attributes
    ----------
    schedule : Schedule
    bounded : bool
        Whether the image is limited to [0, 1].
    kernel : KernelFamily or Tensor (K, K)
        Family of the random kernels, or a known kernel; then only the image is optimised.
    seed : int
    compute : Compute
    noise_power : float or None
        Mean squared error that noise explains.
    start : Weights or None
        Of a run on a similar image of the same size; the kernel generator then needs no warm-up.
    keeps_weights : bool
        Whether the estimate has the generators' weights.
    """

    schedule: Schedule
    bounded: bool
    kernel: KernelFamily | Tensor
    seed: int
    compute: Compute
    noise_power: float | None = None
    start: Weights | None = None
    keeps_weights: bool = False

    @property
    def total(self) -> int:
        """Image steps planned."""
        return self.schedule.image_steps

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.compute.device

    @property
    def target(self) -> float | None:
        """The mean squared error below which noise would be fitted."""
        return None if self.noise_power is None else NOISE_MARGIN * self.noise_power

    def init(self, observation: Observation) -> AlternatingState:
        """Build both generators and draw all random kernels of the run."""
        # Weights come from a CPU generator: a seed means the same start everywhere.
        generator = torch.Generator().manual_seed(self.seed)
        image_part = self._init_image(observation, generator)
        kernel_part: KernelState | HeldKernel
        if isinstance(self.kernel, torch.Tensor):
            kernel_part = HeldKernel(leaf=self.kernel)
        else:
            kernel_part = start_kernel(
                observation,
                self.kernel,
                self.schedule,
                generator=generator,
                seed=self.seed,
                device=self.device,
                weights=None if self.start is None else self.start.kernel,
            )
        return AlternatingState(
            observation=observation,
            structural=StructuralSimilarity(observation.data, observation.measured),
            image_part=image_part,
            kernel_part=kernel_part,
        )

    def _init_image(self, observation: Observation, generator: torch.Generator) -> ImageState:
        shape = observation.canvas_shape
        network = build_image_generator(
            shape[0], width=self.schedule.channels, bounded=self.bounded, generator=generator
        )
        noise = INPUT_AMPLITUDE * torch.rand(1, *shape, generator=generator)
        if self.start is not None:
            network.load_state_dict(self.start.image)
        layout = self.compute.layout(gradients=True)
        # torch's annotations leave this overload out.
        network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        noise = noise.to(self.device, memory_format=layout)
        return ImageState(
            network=network,
            noise=noise,
            optimiser=adam(network, self.schedule.image_rate, self.device),
            evaluate=captured(network, noise, self.compute) or self._eager(network),
        )

    def _eager(self, network: ImageGenerator) -> Callable[[Tensor], Tensor]:
        def evaluate(noise: Tensor) -> Tensor:
            with self.compute.autocast:
                image: Tensor = network(noise)
            return image

        return evaluate

    def step(self, state: AlternatingState) -> Step:
        """Take some warm-up steps of the kernel, or one image step with its kernel steps."""
        part = state.kernel_part
        if isinstance(part, KernelState) and state.warmup_done < self.schedule.warmup_steps:
            end = min(state.warmup_done + WARMUP_CHUNK, self.schedule.warmup_steps)
            chunk = part.pool[state.warmup_done : end]
            for target in chunk.unbind():
                kernel_step(part, F.mse_loss(part.kernel, target))
            state.warmup_done += len(chunk)
            return Step(image_steps=0, stage="learning random kernels")
        if state.image_steps % GOOD_EVERY == 0:
            state.good = [*state.good[-1:], _good(state)]
        structural = self._is_structural(state)
        loss, residual = self._image_step(state)
        stage = "fitting structure" if structural else "fitting intensities"
        return Step(image_steps=state.image_steps, stage=stage, loss=loss, residual=residual)

    def _image_step(self, state: AlternatingState) -> tuple[Tensor, Tensor]:
        schedule, observation, part = self.schedule, state.observation, state.kernel_part
        outer, inner = divmod(state.image_steps, schedule.inner_steps)
        image = state.image_part.evaluate(state.image_part.noise)[0]
        # The Monte-Carlo step and the image step look at the same image: one evaluation.
        if isinstance(part, KernelState) and inner == 0:
            kernels = part.pool[part.chosen[outer]]
            monte_carlo_step(observation, part, image.detach(), kernels, schedule)
        kernel = part.leaf if self._window_counts(state.image_steps) else part.leaf.detach()
        prediction = observation.predict(image, kernel[None])[0]
        squared = F.mse_loss(prediction, observation.data)
        structural = self._is_structural(state)
        data_term = 1 - state.structural(prediction) if structural else squared
        loss = data_term
        prior_weight = self._prior_weight(state)
        if prior_weight > 0:
            prior = gradient_prior(
                image, exponent=schedule.prior_exponent, epsilon=schedule.prior_epsilon
            )
            loss = loss + prior_weight / observation.data.numel() * prior
        state.image_part.optimiser.zero_grad()
        # One backward pass serves the image and, through the leaf, the kernel.
        loss.backward()
        _remember(state, image.detach(), kernel.detach(), data_term.detach(), schedule)
        state.image_part.optimiser.step()
        state.image_steps += 1
        if isinstance(part, KernelState) and state.image_steps % schedule.meta_every == 0:
            hand_over(part)
        return data_term.detach(), squared.detach()

    def restart(self, state: AlternatingState) -> bool:
        """Return to the last good state; return whether to continue, which is the case once."""
        good = next((entry for entry in reversed(state.good) if entry.finite), None)
        if good is None:
            return False
        part = state.kernel_part
        networks: list[tuple[torch.nn.Module, torch.optim.Adam, dict[str, Tensor]]] = [
            (state.image_part.network, state.image_part.optimiser, good.image)
        ]
        if isinstance(part, KernelState):
            networks.append((part.network, part.optimiser, good.kernel))
        for network, optimiser, weights in networks:
            network.load_state_dict(weights)
            # The moments belong to the steps that diverged.
            optimiser.state.clear()
            for group in optimiser.param_groups:
                group["lr"] *= CAREFUL
        if isinstance(part, KernelState):
            renew(part)
        state.last, state.mean, state.mean_count = good.last, good.mean, good.mean_count
        first, state.careful = not state.careful, True
        return first

    def resume(self, state: AlternatingState) -> None:
        """Draw the random kernels that a longer run takes; late iterates are averaged anew."""
        if isinstance(state.kernel_part, KernelState):
            draw_more(state.kernel_part, self.schedule, seed=self.seed)
        state.mean, state.mean_count = None, 0

    def _window_counts(self, step: int) -> bool:
        """Return whether a meta step will use the data term of this image step.

        Meta steps fall on multiples of `meta_every`, sums restart with each outer iteration;
        steps between the last meta step and the restart are dropped.
        """
        every, inner = self.schedule.meta_every, self.schedule.inner_steps
        next_meta = (step // every + 1) * every
        restart = (step // inner + 1) * inner
        return next_meta <= restart

    def settle(self, state: AlternatingState) -> int:
        """Switch to the squared error, under a prior whose weight depends on the noise.

        The structural data term would go on to fit the noise; the squared error with the prior
        converges before.
        """
        state.settled = True
        return self.schedule.image_steps - self.schedule.structural_steps

    def _is_structural(self, state: AlternatingState) -> bool:
        return not state.settled and state.image_steps < self.schedule.structural_steps

    def _prior_weight(self, state: AlternatingState) -> float:
        weight = self.schedule.prior_weight
        if not state.settled or self.noise_power is None:
            return weight
        return max(weight, NOISE_PRIOR * self.noise_power)

    def estimate(self, state: AlternatingState) -> Estimate:
        """Return the averaged late iterates, or the state after the last update."""
        found = self._found(state)
        return replace(found, weights=_weights(state)) if self.keeps_weights else found

    def _found(self, state: AlternatingState) -> Estimate:
        if state.mean is not None:
            return state.mean
        with torch.no_grad():
            image = state.image_part.evaluate(state.image_part.noise)[0]
        kernel = state.kernel_part.leaf.detach()
        after = Estimate(image=image, kernel=kernel)
        if state.last is None:
            return after
        if self.schedule.before_update:
            return state.last
        finite = bool(torch.isfinite(after.image).all() & torch.isfinite(kernel).all())
        return after if finite else state.last


def _good(state: AlternatingState) -> GoodState:
    part = state.kernel_part
    return GoodState(
        image=_copied(state.image_part.network),
        kernel=_copied(part.network) if isinstance(part, KernelState) else {},
        last=state.last,
        mean=state.mean,
        mean_count=state.mean_count,
    )


def _copied(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _weights(state: AlternatingState) -> Weights | None:
    """Return the generators' weights; None if they are not finite."""
    networks: list[torch.nn.Module] = [state.image_part.network]
    if isinstance(state.kernel_part, KernelState):
        networks.append(state.kernel_part.network)
    copies = [
        {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        for network in networks
    ]
    if not all(bool(value.isfinite().all()) for copy in copies for value in copy.values()):
        return None
    return Weights(image=copies[0], kernel=copies[1] if len(copies) > 1 else None)


def _remember(
    state: AlternatingState, image: Tensor, kernel: Tensor, loss: Tensor, schedule: Schedule
) -> None:
    """Keep the latest finite state and the mean of late ones, without waiting for the device."""
    new = Estimate(image=image, kernel=kernel)
    if state.last is not None:
        finite = torch.isfinite(loss)
        new = Estimate(
            image=torch.where(finite, new.image, state.last.image),
            kernel=torch.where(finite, new.kernel, state.last.kernel),
        )
    state.last = new
    if state.image_steps < round(schedule.image_steps * (1 - schedule.average)):
        return
    state.mean_count += 1
    if state.mean is None:
        state.mean = new
    else:
        weight = 1 / state.mean_count
        state.mean = Estimate(
            image=torch.lerp(state.mean.image, new.image, weight),
            kernel=torch.lerp(state.mean.kernel, new.kernel, weight),
        )
