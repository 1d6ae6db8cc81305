"""Networks learn, and a training that was interrupted ends as if it had not been."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

from napari_blindsr.estimation.further_noise import INPUTS, LEVELS
from napari_blindsr.estimation.network import load_kernel_estimator
from napari_blindsr.solvers.nonblind.error_map import load_error_map
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from tests.helpers import FLOAT32
from tests.training.conftest import Bank
from training.__main__ import app
from training.error import ErrorTask
from training.image import ImageTask
from training.joint import Both, JointTask, Judge, both_of, joint_batch
from training.kernel import KernelTask
from training.loop import Plan, Task, train
from training.noise import fitted
from training.scenes import Scenes

pytestmark = pytest.mark.usefixtures("small")


def kernel_task(bank: Bank, *, seed: int = 0) -> KernelTask:
    return KernelTask(bank, bank, compute=FLOAT32, validation_batches=1, seed=seed)


def image_task(bank: Bank, *, seed: int = 0) -> ImageTask:
    return ImageTask(bank, bank, compute=FLOAT32, side=32, count=2, validation_batches=1, seed=seed)


def error_task(bank: Bank, *, seed: int = 0) -> ErrorTask:
    scenes = Scenes(bank, [])
    both = both_of(None).requires_grad_(requires_grad=False)
    return ErrorTask(scenes, scenes, both, compute=FLOAT32, validation_batches=1, seed=seed)


def joint_task(bank: Bank, *, seed: int = 0) -> JointTask:
    torch.manual_seed(seed)
    rng = np.random.default_rng(5)
    judge = Judge({"all": [joint_batch(Scenes(bank, []), rng)]})
    return JointTask(Scenes(bank, []), Both(), judge, compute=FLOAT32)


TASKS: dict[str, Callable[..., Task]] = {
    "kernel": kernel_task,
    "image": image_task,
    "error": error_task,
    "joint": joint_task,
}
RATES = {"kernel": 1e-3, "image": 5e-4, "error": 4e-4}
"""The rates that they are trained with, or begin with."""

LOADERS: dict[str, Callable[[Path], Any]] = {
    "kernel": load_kernel_estimator,
    "image": load_image_prior,
    "error": load_error_map,
}


@pytest.mark.parametrize("name", RATES)
def test_the_loss_falls_on_one_batch(name: str, bank: Bank) -> None:
    task = TASKS[name](bank)
    optimiser = torch.optim.AdamW(task.network.parameters(), lr=RATES[name])
    losses = []
    for _ in range(20):
        # The same seed draws the same batch.
        loss = task.loss(np.random.default_rng(3), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    # All losses are logarithms of errors, but for the cross entropy of the families.
    assert np.mean(losses[-3:]) < losses[0] - 0.1
    assert np.mean(losses[-3:]) < np.mean(losses[3:6])


@pytest.mark.parametrize("name", TASKS)
def test_scores_are_of_what_is_not_trained_on(name: str, bank: Bank) -> None:
    task = TASKS[name](bank)
    scores = task.validate(task.network)
    assert task.validate(task.network) == scores
    assert all(np.isfinite(value) for value in scores.values())
    expected = {"kernel": "rmse", "image": "psnr", "error": "rank", "joint": "all"}
    assert expected[name] in scores


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_repeats_the_first_weights(name: str, bank: Bank) -> None:
    first, second, other = (TASKS[name](bank, seed=seed).network for seed in (0, 0, 1))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


class _InterruptedError(Exception):
    """Ends a training in its midst."""


def weights(task: Task, folder: Path, plan: Plan, *, report_until: int = 100) -> dict[str, Tensor]:
    """Train, and stop with an exception at the report of a step."""

    def report(line: dict[str, float]) -> None:
        if line["step"] >= report_until:
            raise _InterruptedError

    return train(task, plan, folder, report=report)


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    name: str, bank: Bank, tmp_path: Path
) -> None:
    plan = Plan(steps=4, every=2, warmup=2, averaging=0.5)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = weights(TASKS[name](bank), whole, plan)
    with pytest.raises(_InterruptedError):
        weights(TASKS[name](bank), parts, plan, report_until=2)
    found = weights(TASKS[name](bank), parts, plan)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    lines = [log_of(folder) for folder in (whole, parts)]
    assert [line["step"] for line in lines[1]] == ["2.0", "4.0"]
    for first, second in zip(*lines, strict=True):
        assert {**first, "seconds": ""} == {**second, "seconds": ""}
    assert not list(tmp_path.rglob("*.partial"))


class _Dying(KernelTask):
    """Fails at its fourth batch."""

    count = 0

    def loss(self, rng: np.random.Generator, progress: float) -> Tensor:
        self.count += 1
        if self.count == 4:
            raise _InterruptedError
        return super().loss(rng, progress)


def test_steps_after_the_last_checkpoint_are_taken_again(bank: Bank, tmp_path: Path) -> None:
    plan = Plan(steps=4, every=2, warmup=2, averaging=0.5)
    expected = weights(kernel_task(bank), tmp_path / "whole", plan)
    dying = _Dying(bank, bank, compute=FLOAT32, validation_batches=1)
    with pytest.raises(_InterruptedError):
        weights(dying, tmp_path / "parts", plan)
    found = weights(kernel_task(bank), tmp_path / "parts", plan)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_a_training_that_is_done_is_not_gone_on_with(bank: Bank, tmp_path: Path) -> None:
    plan = Plan(steps=1, every=1)
    expected = weights(kernel_task(bank), tmp_path, plan)
    # A line of the log would raise.
    found = weights(kernel_task(bank, seed=1), tmp_path, plan, report_until=0)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert len(log_of(tmp_path)) == 1


@pytest.mark.parametrize("name", LOADERS)
def test_what_is_kept_can_ship(name: str, bank: Bank, tmp_path: Path) -> None:
    task = TASKS[name](bank)
    averaged = weights(task, tmp_path, Plan(steps=1, every=1))
    path = tmp_path / f"{name}.safetensors"
    loaded = LOADERS[name](path)
    network: nn.Module = loaded[0] if isinstance(loaded, tuple) else loaded
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, averaged[key], rtol=1e-3, atol=1e-6)
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["training"])
    assert record["step"] == 1
    assert set(record) == set(log_of(tmp_path)[0])


SMALL = ["--every", "1", "--pictures", "1", "--judges", "1"]


@pytest.mark.slow
def test_the_command_that_trains_the_estimator(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", "kernel", "--steps", "2", *SMALL,
         "--device", "cpu", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rmse" in done.stdout
    assert [line["step"] for line in log_of(tmp_path)] == ["1.0", "2.0"]
    load_kernel_estimator(tmp_path / "kernel.safetensors")


@pytest.mark.slow
def test_the_command_that_trains_the_prior(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    options = ["image", "--steps", "1", *SMALL, "--device", "cpu", "--side", "32", "--count", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    done = CliRunner().invoke(app, [*options, "--out", str(first)])
    assert done.exit_code == 0, done.output
    assert "psnr" in done.output
    # From its weights, with nothing to learn, they stay as they are.
    start = first / "image.safetensors"
    done = CliRunner().invoke(
        app, [*options, "--out", str(second), "--start", str(start), "--rate", "0"]
    )
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    found, expected = (load_image_prior(f / "image.safetensors") for f in (second, first))
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_the_command_that_trains_the_map_of_errors(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    options = ["error", "--steps", "1", *SMALL, "--device", "cpu"]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path)])
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    assert "rank" in done.output
    load_error_map(tmp_path / "error.safetensors")


@pytest.mark.slow
def test_the_command_that_trains_the_choice_of_noise(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    options = ["noise", "--batches", "1", "--steps", "20", "--pictures", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path)])
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    tried = torch.load(tmp_path / "tried.pt", weights_only=True)
    # Levels are compared with none, and differ.
    assert (tried["costs"][:, 0] == 0).all()
    assert (tried["costs"].std(dim=1) > 0).all()
    network, _ = load_kernel_estimator(tmp_path / "kernel.safetensors")
    shipped, _ = load_kernel_estimator()
    known = tried["known"]
    assert not torch.equal(network.further_noise(known), shipped.further_noise(known))
    # All else stays as it is.
    for name, value in shipped.state_dict().items():
        if "further_noise" not in name:
            assert torch.equal(value, network.state_dict()[name])
    # Batches that were tried are not tried again.
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "batches" not in done.output


def test_fitting_finds_costs() -> None:
    known = torch.randn(512, INPUTS, generator=torch.Generator().manual_seed(0))
    costs = torch.stack([number * known[:, 5].tanh() for number in range(len(LEVELS))], dim=1)
    network = fitted(known, costs, seed=0, steps=300).requires_grad_(requires_grad=False)
    error = network(known).mean(dim=0) - costs
    assert float(error.square().mean()) < 0.2 * float(costs.square().mean())


@pytest.mark.slow
def test_the_command_that_trains_both(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    options = ["joint", "--steps", "1", "--every", "1", "--pictures", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path)])
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    assert "photographs" in done.output
    # What ships is made of it.
    both = both_of(tmp_path)
    load_kernel_estimator(tmp_path / "kernel.safetensors")
    load_image_prior(tmp_path / "image.safetensors")
    # One step changes little.
    for first, second in zip(both.parameters(), both_of(None).parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0.01)
