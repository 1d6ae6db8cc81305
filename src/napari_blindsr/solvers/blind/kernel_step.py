"""The steps of the kernel generator: random kernels, and the gradient of the data term.

Numbers in brackets refer to the phases in docs/method, as in `alternating`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.torch_version import TorchVersion

from napari_blindsr.solvers.blind.generators import (
    INPUT_AMPLITUDE,
    KernelGenerator,
    build_kernel_generator,
)
from napari_blindsr.solvers.blind.losses import monte_carlo_weights

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.methods import Schedule
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.physics.observation import Observation


LARGEST_POOL = 4096
"""Random kernels in memory; a longer run uses them repeatedly, in other combinations."""

LARGEST_DRAW = 2048 * 19**2
"""Pixels of random kernels that a Monte-Carlo step compares: of large kernels fewer are drawn."""

TOGETHER = 128
"""Random kernels whose predictions are in memory at a time."""


@dataclass(kw_only=True)
class KernelState:
    """The kernel generator, its optimiser, and its random kernels.

    Attributes
    ----------
    pool : Tensor, (P, K, K)
        All random kernels of the run; the warm-up uses the first ones.
    chosen : Tensor, (outer iterations, L)
        Indices into the pool for each Monte-Carlo step.
    kernel : Tensor, (K, K)
        The current kernel, with its graph.
    leaf : Tensor, (K, K)
        The same values without the graph: sums the gradient of the data term over image steps,
        until a meta step passes it to the graph.
    """

    network: KernelGenerator
    code: Tensor
    optimiser: torch.optim.Adam
    pool: Tensor
    chosen: Tensor
    kernel: Tensor
    leaf: Tensor


@dataclass(frozen=True, kw_only=True)
class HeldKernel:
    """A known kernel `leaf` (K, K), in the place of a `KernelState`."""

    leaf: Tensor


def start_kernel(
    observation: Observation,
    family: KernelFamily,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    seed: int,
    device: torch.device,
    weights: dict[str, Tensor] | None,
) -> KernelState:
    """Build the kernel generator and draw all random kernels of the run.

    `generator`, on the CPU, draws the initial weights; `weights` of an earlier run replace them.
    """
    network = build_kernel_generator(observation.kernel_size, generator=generator)
    code = INPUT_AMPLITUDE * torch.rand(network.INPUTS, generator=generator)
    pool, chosen = _draw_kernels(observation, family, schedule, seed=seed, device=device)
    network, code = network.to(device), code.to(device)
    if weights is not None:
        network.load_state_dict(weights)
    elif schedule.from_mean:
        network.begin_at(pool.mean(dim=0))
    kernel = network(code)
    return KernelState(
        network=network,
        code=code,
        optimiser=adam(network, schedule.kernel_rate, device),
        pool=pool,
        chosen=chosen,
        kernel=kernel,
        leaf=_leaf(kernel),
    )


def _draw_kernels(
    observation: Observation,
    family: KernelFamily,
    schedule: Schedule,
    *,
    seed: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Draw all random kernels of a run in one batch, and assign them to steps."""
    outer = -(-schedule.image_steps // schedule.inner_steps)
    each = max(schedule.kept_kernels, LARGEST_DRAW // observation.kernel_size**2)
    each = min(each, schedule.random_kernels)
    count = outer * each
    size = schedule.warmup_steps + min(count, LARGEST_POOL)
    draws = torch.Generator(device).manual_seed(seed)
    pool = family.sample(
        size,
        scale=observation.scale,
        size=observation.kernel_size,
        center=observation.center,
        generator=draws,
    )
    first = schedule.warmup_steps
    if count <= LARGEST_POOL:
        chosen = torch.arange(first, size, device=device)
    else:
        chosen = torch.randint(first, size, (count,), generator=draws, device=device)
    return pool, chosen.unflatten(0, (outer, each))


def draw_more(part: KernelState, schedule: Schedule, *, seed: int) -> None:
    """Choose random kernels of the pool for further steps, in other combinations."""
    outer, each = part.chosen.shape
    missing = -(-schedule.image_steps // schedule.inner_steps) - outer
    if missing <= 0:
        return
    first, device = schedule.warmup_steps, part.pool.device
    # Other numbers each time that a run is continued.
    draws = torch.Generator(device).manual_seed(seed + outer)
    size = (missing, each)
    more = torch.randint(first, len(part.pool), size, generator=draws, device=device)
    part.chosen = torch.cat((part.chosen, more))


def adam(network: torch.nn.Module, rate: float, device: torch.device) -> torch.optim.Adam:
    """Return an optimiser of a generator."""
    # On the CPU since torch 2.4.
    fused = device.type == "cuda" or (
        device.type == "cpu" and TorchVersion(torch.__version__) >= "2.4"
    )
    return torch.optim.Adam(network.parameters(), lr=rate, fused=fused)


def _leaf(kernel: Tensor) -> Tensor:
    return kernel.detach().requires_grad_()


def kernel_step(part: KernelState, loss: Tensor) -> None:
    """Take one Adam step of the kernel generator, and update the kernel."""
    part.optimiser.zero_grad()
    loss.backward()
    _advance(part)


def hand_over(part: KernelState) -> None:
    """[2c] Take one kernel step on the gradient that the leaf has summed."""
    if part.leaf.grad is None:
        return
    part.optimiser.zero_grad()
    part.kernel.backward(part.leaf.grad)
    _advance(part)


def _advance(part: KernelState) -> None:
    part.optimiser.step()
    renew(part)


def renew(part: KernelState) -> None:
    """Compute the kernel of the generator's weights."""
    part.kernel = part.network(part.code)
    part.leaf = _leaf(part.kernel)


def monte_carlo_step(
    observation: Observation,
    part: KernelState,
    image: Tensor,
    kernels: Tensor,
    schedule: Schedule,
) -> None:
    """[2a] Take kernel steps towards random kernels, weighted by how well they explain the data."""
    losses = torch.cat(
        [
            (observation.predict(image, some) - observation.data).square().mean(dim=(1, 2, 3))
            for some in kernels.split(TOGETHER)
        ]
    )
    if len(kernels) > schedule.kept_kernels:
        losses, best = losses.topk(schedule.kept_kernels, largest=False)
        kernels = kernels[best]
    weights = monte_carlo_weights(losses)
    for _ in range(schedule.monte_carlo_steps):
        distances = (kernels - part.kernel).square().mean(dim=(1, 2))
        kernel_step(part, (weights * distances).sum())
