"""The map of the image prior's errors: its place, its unit, what raises it, what it predicts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr
from skimage import data
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.solvers.nonblind.data_step import LEVELS, WIDTHS, DataModule, Round
from napari_blindsr.solvers.nonblind.error_map import (
    LEAST,
    MEAN_ERROR,
    ErrorMap,
    load_error_map,
    unlikelihood,
)
from napari_blindsr.solvers.nonblind.image_prior import unfolded
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior


def blur(scale: int, variance: float = 3.0, size: int = 21) -> Tensor:
    variances = torch.tensor([[variance, variance]])
    center = kernel_center(size, scale, "camera")
    return render_gaussian(variances, torch.zeros(1), size=size, center=center)[0].float()


def seen(name: str, *, noise: float = 0.005, scale: int = 2) -> tuple[Observation, Tensor]:
    """Return an observation of a picture that nothing was trained on, and the truth."""
    sharp = torch.from_numpy(getattr(data, name)()[80:208, 150:278] / 255).float()[None]
    planes = DataModule(sharp[:, ::scale, ::scale], blur(scale), scale).predict(sharp)
    grain = torch.randn(planes.shape, generator=torch.Generator().manual_seed(0))
    observation = Observation(
        data=planes + noise * grain, scale=scale, kernel_size=21, border="circular"
    )
    return observation, sharp


def expected(
    observation: Observation, *, noise: float = 0.005, log_variance_sd: float = 0.0
) -> Tensor:
    scale = observation.scale
    return unfolded(
        observation, blur(scale), load_image_prior(), noise=noise, errors=load_error_map(),
        log_variance_sd=log_variance_sd,
    )  # fmt: skip


def last_round(height: int, width: int, seed: int = 0) -> Round:
    """Return a round with nothing behind it."""
    generator = torch.Generator().manual_seed(seed)
    half = (4 * -(-height // 8), 4 * -(-width // 8))
    planes = [torch.rand(2, height, width, generator=generator) for _ in range(3)]
    return Round(
        before=planes[0],
        explained=planes[1],
        image=planes[2],
        noise=torch.full((2, 1, 1), 0.02),
        levels=torch.rand(2, LEVELS, *half, generator=generator),
        memory=torch.rand(2, WIDTHS[0], *half, generator=generator),
    )


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (33, 7)])
def test_it_has_the_shape_of_the_image_and_is_positive(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = ErrorMap(WIDTHS[0], LEVELS)
    found = network(last_round(height, width), torch.tensor(0.2))
    assert found.shape == (2, height, width)
    assert found.dtype == torch.float32
    assert bool((found >= LEAST).all())


def test_an_image_twice_as_bright_has_twice_the_error() -> None:
    torch.manual_seed(0)
    network, one = ErrorMap(WIDTHS[0], LEVELS), last_round(16, 24)
    twice = Round(
        before=2 * one.before, explained=2 * one.explained, image=2 * one.image,
        noise=2 * one.noise, levels=2 * one.levels, memory=2 * one.memory,
    )  # fmt: skip
    log_variance_sd = torch.tensor([0.1, 0.4])
    first, second = network(one, log_variance_sd), network(twice, log_variance_sd)
    torch.testing.assert_close(second, 2 * first, atol=LEAST, rtol=1e-4)


@pytest.mark.parametrize("name", ["camera", "coins"])
def test_it_predicts_where_the_errors_are_and_how_large(name: str) -> None:
    observation, truth = seen(name)
    image = unfolded(observation, blur(2), load_image_prior(), noise=0.005)
    error = (image - truth).abs()
    found = expected(observation)
    assert found.shape == error.shape
    assert spearmanr(found.flatten(), error.flatten())[0] > 0.4
    assert 0.5 < float(error.mean() / (MEAN_ERROR * found.mean())) < 2


def test_doubt_and_noise_raise_it() -> None:
    observation, _ = seen("camera")
    known, doubted = expected(observation), expected(observation, log_variance_sd=0.5)
    assert float(doubted.mean()) > 1.02 * float(known.mean())
    # Fine texture is lost with noise and without; of smooth things noise takes the most.
    for name, least in (("camera", 1.0), ("moon", 1.2)):
        clean, noisy = seen(name)[0], seen(name, noise=0.05)[0]
        level = float(expected(noisy, noise=0.05).mean()) / float(expected(clean).mean())
        assert level > least


def test_channels_have_their_own() -> None:
    observation, _ = seen("camera")
    flat = torch.full_like(observation.data, 0.5)
    both = replace(observation, data=torch.cat((observation.data, flat)))
    first, second = expected(both)
    assert float(second.mean()) < 0.5 * float(first.mean())


def test_the_likelihood_is_best_at_the_mean_error() -> None:
    error = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 0.3
    level = error.abs().mean() / MEAN_ERROR
    assert math.isclose(float(level), 0.3, rel_tol=0.02)
    best = unlikelihood(level.expand(len(error)), error)
    for factor in (0.8, 0.95, 1.05, 1.25):
        assert unlikelihood((factor * level).expand(len(error)), error) > best
