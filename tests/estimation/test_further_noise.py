from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data
from torch import Tensor

from napari_blindsr.estimation.estimate import decide
from napari_blindsr.estimation.further_noise import INPUTS, LEVELS, FurtherNoise, known_of
from napari_blindsr.physics.acquisition import compressed
from napari_blindsr.physics.noise import BLOCKING, STATISTICS
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.device import choose_compute


def grained(width: float, *, level: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    """Return a smooth picture with noise that a Gaussian of some pixels has smoothed."""
    noise = np.random.default_rng(seed).normal(size=(160, 160))
    if width > 0:
        noise = gaussian_filter(noise, width)
    picture = gaussian_filter(data.camera()[:160, 100:260] / 255, 2)
    return np.asarray(picture + level * noise / noise.std(), dtype=np.float32)


def further(*planes: NDArray[np.floating], measured: NDArray[np.bool_] | None = None) -> float:
    """Return the noise that is assumed besides the estimated one, in units of the slope."""
    decision = decide(
        np.stack(planes).astype(np.float32),
        Settings(scale=2, device="cpu"),
        measured=measured,
        compute=choose_compute("cpu", "float32"),
    )
    assert decision is not None
    return decision.unexplained


@pytest.mark.parametrize("width", [0.7, 0.9, 1.1])
def test_correlated_noise_is_recognised(width: float) -> None:
    for seed in range(3):
        plane = grained(width, seed=seed)
        slope = np.sqrt(np.mean([np.mean(np.diff(plane, axis=axis) ** 2) for axis in (0, 1)]))
        # At least its standard deviation, at most what white noise has whose means are as noisy.
        assert 0.07 < slope * further(plane) < 0.1 * np.sqrt(4 * np.pi) * width


def test_what_is_white_or_no_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    picture = gaussian_filter(data.camera()[:160, 100:260] / 255, 1)
    for other in (
        grained(0),
        picture,
        rng.poisson(50 * picture + 5) / 50,
        compressed(grained(0.9), 40),
        data.camera() / 255,
    ):
        assert further(other) < 0.3


def test_it_has_no_unit_or_direction() -> None:
    plane = grained(0.9)
    expected = further(plane)
    for other in (30 * plane, plane + 3, plane[::-1], plane.T, np.rot90(plane)):
        assert further(other) == pytest.approx(expected, rel=0.02)
    measured = np.ones(plane.shape, dtype=bool)
    measured[40:50, 60:70] = False
    spoilt = np.where(measured, plane, 50)
    assert further(spoilt, measured=measured) == pytest.approx(expected, rel=0.1)


def known(*, blocking: float = 0.0, count: int = 1) -> Tensor:
    values = torch.zeros(count, INPUTS)
    values[:, BLOCKING] = blocking
    return values


def network(*costs: tuple[float, ...]) -> FurtherNoise:
    """Return a network whose members predict some costs of the levels but none."""
    made = FurtherNoise()
    for number, member in enumerate(made.members):
        *_, last = member.children()
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor(costs[number % len(costs)]))
    return made


def test_the_cheapest_level_is_taken() -> None:
    assert len(LEVELS) == 6
    found = network((0.2, 0.1, -0.3, -0.1, 0.4)).level(known(count=2))
    torch.testing.assert_close(found, torch.full((2,), math.exp(LEVELS[3])))


@pytest.mark.parametrize(
    ("costs", "blocking"),
    [
        # None is better, or not by enough.
        ([(0.2, 0.1, 0.3, 0.1, 0.4)], 0.0),
        ([(0.2, 0.1, -0.04, 0.1, 0.4)], 0.0),
        # The members disagree.
        ([(0.2, 0.1, -1.0, 0.1, 0.4), (0.2, 0.1, 0.8, 0.1, 0.4)], 0.0),
        # JPEG.
        ([(0.2, 0.1, -1.0, 0.1, 0.4)], 0.8),
    ],
)
def test_without_a_clear_gain_there_is_none(
    costs: list[tuple[float, ...]], blocking: float
) -> None:
    assert float(network(*costs).level(known(blocking=blocking))) == 0


def test_turning_a_blur_changes_nothing() -> None:
    statistics = torch.zeros(1, STATISTICS)
    mean, variance = torch.tensor([[0.3, -0.4, 0.2]]), torch.tensor([[0.1, 0.2, 0.3]])
    one = known_of(statistics, mean, variance, 4)
    assert one.shape == (1, INPUTS)
    swapped = torch.tensor([[1, 0, 2]])
    other = known_of(statistics, mean.gather(1, swapped), variance.gather(1, swapped), 4)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one[0, -5:-3], torch.tensor([-0.05, math.hypot(0.35, 0.2)]))
    assert float(one[0, -1]) == pytest.approx(2 / 3)
