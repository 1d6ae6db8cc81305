"""The loop of all trainings: seeds, a cosine schedule, averaged weights, checkpoints, a log."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor, nn


class Task(Protocol):
    """A network with its loss and its validation."""

    name: str

    @property
    def network(self) -> nn.Module:
        """The network, on its device."""
        ...

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a random batch at a fraction `progress` of the training."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return scores of a network on data that are never trained on."""
        ...

    def resume(self, generators: Iterable[Generator]) -> None:
        """Rebuild what is kept between steps, from the random generators of all steps so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The hyperparameters of a training.

    Attributes
    ----------
    steps : int
    rate : float
        Largest learning rate, after `warmup` steps; it then falls like a cosine.
    warmup : int
    weight_decay : float
    averaging : float
        Decay of the exponential average of the weights, which is the result.
    clip : float
        Largest norm of a gradient.
    every : int
        Steps between two checkpoints, validations and lines of the log.
    seed : int
    """

    steps: int
    rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 1e-4
    averaging: float = 0.999
    clip: float = 1.0
    every: int = 500
    seed: int = 0


def train(
    task: Task, plan: Plan, folder: Path, *, report: Callable[[dict[str, float]], None]
) -> dict[str, Tensor]:
    """Train, or continue from the checkpoint in a folder; return the averaged weights.

    Parameters
    ----------
    task : Task
    plan : Plan
    folder : Path
        Gets ``checkpoint.pt``, ``log.csv`` and the averaged weights ``<name>.safetensors``, all
        updated every `plan.every` steps.
    report : callable
        Called with each line of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = task.network
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=plan.rate, weight_decay=plan.weight_decay, betas=(0.9, 0.99)
    )
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.averaging)
    )
    step, seconds = 0, 0.0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, seconds = state["step"], state["seconds"]
        task.resume(_generator(plan, done) for done in range(step))
    start = time.perf_counter() - seconds
    losses: list[Tensor] = []
    while step < plan.steps:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _schedule(step, plan)
        # A generator for each step: a resumed training sees the batches it would have seen.
        loss = task.loss(_generator(plan, step), step / plan.steps)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        # One batch that goes wrong must not spoil the weights.
        if torch.isfinite(norm) and torch.isfinite(loss):
            optimiser.step()
            average.update_parameters(network)
            losses.append(loss.detach())
        else:
            report({"step": float(step), "skipped": 1.0})
        step += 1
        if step % plan.every == 0 or step == plan.steps:
            seconds = time.perf_counter() - start
            scores = task.validate(average.module)
            line = {
                "step": float(step),
                "seconds": seconds,
                "loss": float(torch.stack(losses).mean()),
                **scores,
            }
            losses.clear()
            _log(folder / "log.csv", line)
            _save(
                checkpoint,
                {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step,
                    "seconds": seconds,
                },
            )
            write_weights(average.module, folder / f"{task.name}.safetensors", line)
            report(line)
    return dict(average.module.state_dict())


def _generator(plan: Plan, step: int) -> Generator:
    """Return the random generator of a step."""
    return np.random.default_rng([plan.seed, step])


def _schedule(step: int, plan: Plan) -> float:
    rise = min(1.0, (step + 1) / plan.warmup)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / plan.steps)))


def _save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that an interruption leaves the one before."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)  # noqa: PTH105 - replaces in one step


def write_weights(network: nn.Module, path: Path, record: dict[str, float]) -> None:
    """Write a network's tensors in half precision, with a record of their training."""
    tensors = {
        name: value.detach().cpu().half().contiguous()
        for name, value in network.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"training": json.dumps(record)})
    os.replace(partial, path)  # noqa: PTH105


def _log(path: Path, line: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(line))
        if new:
            writer.writeheader()
        writer.writerow(line)
