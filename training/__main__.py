"""Train the networks that ship: ``python -m training COMMAND``; docs/networks.md has the order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from napari_blindsr.solvers.device import choose_compute
from napari_blindsr.weights.tensors import read_tensors
from training.error import ErrorTask
from training.estimator import BlurTask, DecisionTask, PriorTask
from training.image import ImageTask
from training.joint import JointTask, both_of, judge_of
from training.kernel import KernelTask
from training.loop import Plan, train
from training.noise import collect, fitted
from training.pictures import generated, picture_bank
from training.real import training_micrographs
from training.scenes import Scenes
from training.split import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console()

Folder = Annotated[Path, typer.Option("--out", help="Folder for checkpoint, log and weights.")]
Steps = Annotated[int, typer.Option(min=1, help="Batches to train on.")]
Every = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
Seed = Annotated[int, typer.Option(min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Pictures = Annotated[int, typer.Option(min=1, help="Pictures that are generated of each kind.")]
Judges = Annotated[int, typer.Option(min=1, help="Batches that the network is judged by.")]
Start = Annotated[
    Path | None, typer.Option(help="File of weights to start from instead of random ones.")
]
Photographs = Annotated[
    Path | None,
    typer.Option(
        help="Folder of photographs to train on besides those of scikit-image.",
        exists=True,
        file_okay=False,
    ),
]
Micrographs = Annotated[
    Path | None,
    typer.Option(help="Folder of real micrographs (TIFF).", exists=True, file_okay=False),
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of weights; those that ship if left out.")
]
Rate = Annotated[float, typer.Option(min=0, help="Largest learning rate.")]

HELD_OUT = 12
"""Most pictures of each kind for validation."""

HELD_OUT_SEED = 1_000_000


@app.callback()
def main() -> None:
    """Train the networks that ship with napari-blindsr."""


@app.command()
def kernel(
    *,
    out: Folder = Path("training/kernel"),
    steps: Steps = 24_000,
    every: Every = 500,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 200,
    judges: Judges = 60,
    start: Start = None,
    photographs: Photographs = None,
    rate: Rate = 1e-3,
) -> None:
    """Train the kernel estimator; an interrupted training continues."""
    torch.set_num_threads(threads)
    bank = _bank(pictures, photographs, seed)
    task = KernelTask(
        bank,
        _held_out(pictures, seed),
        compute=choose_compute(device, "auto"),
        validation_batches=judges,
        seed=seed,
    )
    _begin(task.network, start)
    train(task, Plan(steps=steps, every=every, seed=seed, rate=rate), out, report=_report)


@app.command()
def image(
    *,
    out: Folder = Path("training/image"),
    steps: Steps = 12_000,
    every: Every = 250,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 200,
    judges: Judges = 12,
    start: Start = None,
    photographs: Photographs = None,
    rate: Rate = 5e-4,
    side: Annotated[int, typer.Option(min=32, help="Of the crops, in pixels.")] = 96,
    count: Annotated[int, typer.Option(min=1, help="Crops a batch.")] = 8,
) -> None:
    """Train the image prior; an interrupted training continues."""
    torch.set_num_threads(threads)
    bank = _bank(pictures, photographs, seed)
    task = ImageTask(
        bank,
        _held_out(pictures, seed),
        compute=choose_compute(device, "auto"),
        validation_batches=judges,
        side=side,
        count=count,
        seed=seed,
    )
    _begin(task.network, start)
    train(task, Plan(steps=steps, every=every, seed=seed, rate=rate), out, report=_report)


@app.command()
def joint(
    *,
    out: Folder = Path("training/joint"),
    steps: Steps = 7_000,
    every: Every = 250,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 60,
    start: Weights = None,
    micrographs: Micrographs = None,
    rate: Rate = 3e-4,
    prior_alone: Annotated[
        bool, typer.Option("--prior-alone", help="Train the image prior, hold the estimator.")
    ] = False,
) -> None:
    """Train both networks, or the image prior alone, for the error of the restored image."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    plan = Plan(steps=steps, every=every, seed=seed, rate=rate, warmup=200, averaging=0.998)
    judged = _scenes(pictures, micrographs, seed), both_of(start), judge_of(micrographs)
    kind = PriorTask if prior_alone else JointTask
    _train(kind(*judged, compute=choose_compute(device, "auto")), plan, out)


@app.command()
def blur(
    *,
    out: Folder = Path("training/blur"),
    steps: Steps = 9_000,
    every: Every = 1_000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 60,
    start: Weights = None,
    micrographs: Micrographs = None,
    rate: Rate = 3e-4,
) -> None:
    """Train the kernel estimator for the blur alone, after `joint`."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    plan = Plan(steps=steps, every=every, seed=seed, rate=rate, warmup=200, averaging=0.999)
    judged = _scenes(pictures, micrographs, seed), both_of(start), judge_of(micrographs)
    _train(BlurTask(*judged, compute=choose_compute(device, "auto")), plan, out)


@app.command()
def decision(
    *,
    out: Folder = Path("training/decision"),
    steps: Steps = 500,
    every: Every = 100,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 60,
    start: Weights = None,
    micrographs: Micrographs = None,
    rate: Rate = 4e-4,
) -> None:
    """Train which kernel is handed on, for the error of the restored image, after `blur`."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    plan = Plan(steps=steps, every=every, seed=seed, rate=rate, warmup=30, averaging=0.98)
    judged = _scenes(pictures, micrographs, seed), both_of(start), judge_of(micrographs)
    _train(DecisionTask(*judged, compute=choose_compute(device, "auto")), plan, out)


@app.command()
def noise(
    *,
    out: Folder = Path("training/noise"),
    batches: Annotated[int, typer.Option(min=1, help="Batches to try levels of noise on.")] = 4_000,
    steps: Steps = 5_000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 60,
    start: Weights = None,
    micrographs: Micrographs = None,
) -> None:
    """Train how much noise that pixels share is assumed, after `decision`; it can be continued."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    networks = both_of(start).requires_grad_(requires_grad=False)
    known, costs = collect(
        _scenes(pictures, micrographs, seed),
        networks,
        batches=batches,
        seed=seed,
        file=out / "tried.pt",
        compute=choose_compute(device, "auto"),
        report=lambda done: _report({"batches": done}),
    )
    networks.estimator.further_noise = fitted(known, costs, seed=seed, steps=steps)
    record = {"training": json.dumps({"task": "noise", "crops": len(known), "seed": seed})}
    save_file(networks.state_dict(), out / "noise.safetensors", metadata=record)
    split(out / "noise.safetensors", out)


@app.command()
def error(
    *,
    out: Folder = Path("training/error"),
    steps: Steps = 2_000,
    every: Every = 250,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    pictures: Pictures = 60,
    judges: Judges = 20,
    start: Weights = None,
    begin: Start = None,
    micrographs: Micrographs = None,
    rate: Rate = 5e-4,
) -> None:
    """Train the map of the image prior's errors; an interrupted training continues."""
    torch.set_num_threads(threads)
    task = ErrorTask(
        _scenes(pictures, micrographs, seed),
        _scenes(min(HELD_OUT, pictures), micrographs, seed + HELD_OUT_SEED),
        both_of(start).requires_grad_(requires_grad=False),
        compute=choose_compute(device, "auto"),
        validation_batches=judges,
        seed=seed,
    )
    _begin(task.network, begin)
    # It is trained briefly: a longer memory would still hold its first weights.
    plan = Plan(steps=steps, every=every, seed=seed, rate=rate, averaging=0.99, warmup=100)
    train(task, plan, out, report=_report)


def _train(task: JointTask, plan: Plan, out: Path) -> None:
    """Train, and write the files of both networks as they ship."""
    train(task, plan, out, report=_report)
    split(out / f"{task.name}.safetensors", out)


def _scenes(pictures: int, micrographs: Path | None, seed: int) -> Scenes:
    """Return the scenes to train on; without real micrographs, with simulated ones instead."""
    bank = picture_bank(leaves=pictures, micrographs=pictures, seed=seed + 100)
    return Scenes(bank, [] if micrographs is None else training_micrographs(micrographs))


def _bank(pictures: int, folder: Path | None, seed: int) -> list[list[NDArray[np.uint8]]]:
    """Return the pictures to train on."""
    return picture_bank(leaves=pictures, micrographs=pictures, seed=seed, folder=folder)


def _held_out(pictures: int, seed: int) -> list[list[NDArray[np.uint8]]]:
    """Return pictures for validation; all photographs are trained on."""
    count = min(HELD_OUT, pictures)
    leaves, micrographs = generated(count, count, np.random.default_rng(seed + HELD_OUT_SEED))
    return [leaves, leaves, micrographs]


def _begin(network: nn.Module, start: Path | None) -> None:
    """Load weights into a network, if there are some to start from."""
    if start is not None:
        tensors, _ = read_tensors(start)
        network.load_state_dict(tensors)


def _report(line: dict[str, float]) -> None:
    console.print("  ".join(f"{name} {value:.4g}" for name, value in line.items()))


if __name__ == "__main__":
    app()
