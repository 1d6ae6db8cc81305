"""Restoration with a known kernel and no optimisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from skimage import data
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.progress import StopReason
from napari_blindsr.solvers.loop import Outcome, solve
from napari_blindsr.solvers.nonblind.closed_form import ROUNDS, KnownKernelSolver
from napari_blindsr.solvers.nonblind.sparse import sparse
from tests.helpers import observe

SIZE = 13


def kernel(scale: int) -> Tensor:
    variances = scale**2 * torch.tensor([[0.4, 0.25]])
    center = kernel_center(SIZE, scale, "camera")
    return render_gaussian(variances, torch.tensor([0.6]), size=SIZE, center=center)[0]


def photographed(scale: int, *, gain: float = 1.0, **options: Any) -> tuple[Observation, Tensor]:
    """Return an observation of a picture, and the truth."""
    sharp = torch.from_numpy(data.camera()[80:220, 150:300] / 255).float()[None]
    height, width = ((n - SIZE + 1) // scale for n in sharp.shape[-2:])
    frame = Observation(
        data=torch.zeros(1, height, width), scale=scale, kernel_size=SIZE, gain=gain, **options
    )
    sharp = sharp[:, : frame.canvas_shape[1], : frame.canvas_shape[2]]
    values = frame.predict(sharp, kernel(scale)[None])[0]
    return replace(frame, data=values), frame.crop(sharp)


def run(solver: KnownKernelSolver, observation: Observation) -> Outcome:
    steps = solve(solver, observation)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def spread(values: Tensor) -> float:
    """Return the root mean square."""
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_one_round_is_the_sparse_finish(scale: int, border: Any) -> None:
    observation, _ = photographed(scale, border=border, noise=0.01)
    solver = KnownKernelSolver(kernel=kernel(scale))
    outcome = run(solver, observation)
    assert solver.total == 1
    assert outcome.reason is StopReason.COMPLETED
    expected = sparse(observation, kernel(scale), noise=0.01, canvas=True)
    torch.testing.assert_close(outcome.estimate.image, expected)
    torch.testing.assert_close(outcome.estimate.kernel, kernel(scale))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_measurement_is_explained(scale: int) -> None:
    observation, truth = photographed(scale)
    outcome = run(KnownKernelSolver(kernel=kernel(scale)), observation)
    assert float(outcome.losses[-1].sqrt()) < 2 / 255
    assert spread(observation.crop(outcome.estimate.image) - truth) < 0.1


def test_a_dark_image_comes_out_bright() -> None:
    dark, truth = photographed(2, gain=0.25, noise=0.0025)
    bright, _ = photographed(2, noise=0.01)
    solver = KnownKernelSolver(kernel=kernel(2))
    found = run(solver, dark).estimate.image
    torch.testing.assert_close(found, run(solver, bright).estimate.image, rtol=1e-4, atol=1e-4)
    assert spread(dark.crop(found) - truth) < 0.1


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize("scale", [1, 2])
def test_covered_pixels_are_filled_in(scale: int, gain: float) -> None:
    whole, truth = photographed(scale, gain=gain, noise=0.005 * gain)
    measured = torch.rand(whole.data.shape[1:], generator=torch.Generator().manual_seed(0)) > 0.15
    # As the library makes them: zeros, and beside them a smooth continuation.
    guess = inpaint_biharmonic(whole.data.numpy(), ~measured.numpy(), channel_axis=0)
    observation = replace(
        whole,
        data=whole.data * measured,
        measured=measured,
        guess=torch.from_numpy(guess).float(),
    )
    solver = KnownKernelSolver(kernel=kernel(scale), covered=True)
    outcome = run(solver, observation)
    assert solver.total == ROUNDS
    assert outcome.losses.shape == (ROUNDS,)
    plain = KnownKernelSolver(kernel=kernel(scale))

    def error(values: Tensor) -> float:
        """Return how far a restoration of the data is off if all are taken as measured."""
        found = run(plain, replace(whole, data=values))
        return spread(truth - whole.crop(found.estimate.image))

    found = spread(truth - whole.crop(outcome.estimate.image))
    assert found < error(whole.data) + 0.01
    assert found < error(torch.from_numpy(guess).float())
    assert found < 0.5 * error(observation.data)


def test_what_the_data_hold_where_they_are_covered_has_no_influence() -> None:
    # 0 by the observation's own rule; the guess counts, and what the image predicts.
    measured = torch.ones(20, 18, dtype=torch.bool)
    measured[5:9, 6:10] = False
    plain = observe()
    guess = plain.data
    observation = replace(plain, data=plain.data * measured, measured=measured, guess=guess)
    solver = KnownKernelSolver(kernel=torch.full((7, 7), 1 / 49), covered=True)
    found = run(solver, observation).estimate.image
    spoilt = replace(observation, data=torch.where(measured, plain.data, 5.0))
    torch.testing.assert_close(run(solver, spoilt).estimate.image, found)


def test_an_estimate_before_the_first_round_is_a_restoration() -> None:
    observation, _ = photographed(2)
    solver = KnownKernelSolver(kernel=kernel(2))
    early = solver.estimate(solver.init(observation)).image
    torch.testing.assert_close(early, run(solver, observation).estimate.image)


def test_it_says_of_itself_what_the_loop_asks() -> None:
    solver = KnownKernelSolver(kernel=kernel(2), covered=True)
    assert solver.target is None
    assert solver.device == torch.device("cpu")
    state = solver.init(observe(kernel_size=SIZE))
    assert solver.settle(state) == ROUNDS
    assert solver.step(state).image_steps == 1
    assert solver.settle(state) == ROUNDS - 1
