"""Training of how much noise that neighbouring pixels share is assumed, after all other networks.

The error has several minima over the level of such noise, so that no gradient finds the best: each
level is tried on many crops, and a small network learns what it costs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_blindsr.estimation.further_noise import LEVELS, FurtherNoise, known_of
from training.estimator import cost
from training.joint import given_for, joint_batch, restored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_blindsr.solvers.device import Compute
    from training.joint import Both
    from training.scenes import Scenes

MOST = 1.5
"""Largest cost that is learnt."""

BLIND = 0.8
"""Share of crops that are restored with the estimated kernel."""

CROPS, RATE, DECAY = 256, 2e-3, 1e-2
DROPPED, JITTER = 0.1, 0.1
"""Share of units left out in a step, and noise of the inputs."""

EVERY = 50


def collect(
    scenes: Scenes,
    network: Both,
    *,
    batches: int,
    seed: int,
    file: Path,
    compute: Compute,
    report: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    """Try all levels on crops; return what is known of them (n, K), and the costs (n, L).

    What the file holds of an earlier run is not tried again.
    """
    done, known, costs = 0, [], []
    if file.exists():
        saved = torch.load(file, weights_only=True)
        done, known, costs = saved["batches"], [saved["known"]], [saved["costs"]]
    for number in range(done, batches):
        more = tried(scenes, network, np.random.default_rng([seed, number]), compute)
        known.append(more[0])
        costs.append(more[1])
        if (number + 1) % EVERY == 0 or number + 1 == batches:
            found = {"known": torch.cat(known), "costs": torch.cat(costs)}
            torch.save({"batches": number + 1, **found}, file)
            report(number + 1)
    return torch.cat(known), torch.cat(costs)


@torch.no_grad()
def tried(
    scenes: Scenes, network: Both, rng: np.random.Generator, compute: Compute
) -> tuple[Tensor, Tensor]:
    """Return what is known of a batch of crops, and what each level adds to their cost."""
    batch = joint_batch(scenes, rng, blind=BLIND)
    given = given_for(network, batch, compute)
    costs = []
    for level in LEVELS:
        further = (batch.slope * math.exp(level))[:, None, None]
        noisier = replace(given, noise=torch.hypot(given.noise, further))
        costs.append(cost(restored(network, batch, noisier, compute)[-1].image, batch))
    added = torch.stack([one - costs[0] for one in costs], dim=1).clamp(-MOST, MOST)
    votes = given.votes
    known = known_of(batch.statistics, votes.mean, votes.log_variance.exp(), batch.scale)
    return known.float().cpu(), added.float().cpu()


def fitted(known: Tensor, costs: Tensor, *, seed: int, steps: int) -> FurtherNoise:
    """Return the network that predicts the costs (n, L) from what is known of crops (n, K)."""
    torch.manual_seed(seed)
    network = FurtherNoise()
    network.mean.copy_(known.mean(dim=0))
    network.spread.copy_(known.std(dim=0) + 1e-3)
    inputs = ((known - network.mean) / network.spread).clamp(-4, 4)
    for member in network.members:
        _fit(member, inputs, costs[:, 1:], steps)
    return network


def _fit(member: nn.Module, inputs: Tensor, costs: Tensor, steps: int) -> None:
    """Train one member on random crops."""
    assert isinstance(member, nn.Sequential)
    first, *rest = member
    optimiser = torch.optim.AdamW(member.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        chosen = torch.randint(0, len(inputs), (CROPS,))
        given = inputs[chosen] + JITTER * torch.randn(CROPS, inputs.shape[1])
        hidden = F.dropout(rest[0](first(given)), DROPPED)
        predicted = nn.Sequential(*rest[1:])(hidden)
        loss = F.smooth_l1_loss(predicted, costs[chosen], beta=0.2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
