"""Fluorescence: bright structures that blur has made faint are restored as bright as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, interpolate
from napari_blindsr.restoration.problem import Problem
from napari_blindsr.restoration.reconstruct import Restored, restored
from napari_blindsr.restoration.restore import make_settings
from napari_blindsr.restoration.setup import median_height, prepare
from napari_blindsr.types import Finish

SCALE = 2
SIGMA = 3.0


def blur(sigma: float = SIGMA) -> NDArray[np.float32]:
    size = 21
    kernel = render_gaussian(
        torch.full((1, 2), sigma**2).double(),
        torch.zeros(1).double(),
        size=size,
        center=kernel_center(size, SCALE, "camera"),
    )[0]
    return kernel.float().numpy()


def seen(truth: NDArray[Any], photons: float, *, seed: int = 0) -> tuple[NDArray[Any], float]:
    """Return what a camera counts of a blurred picture, and counts a unit of its intensity."""
    clean = degrade(truth, blur(), Degradation(scale=SCALE)).image
    gain = photons / float(clean.max())
    rng = np.random.default_rng(seed)
    counts = rng.poisson(gain * np.maximum(clean, 0)) + rng.normal(0, 1.5, clean.shape)
    return np.rint(counts + 100).astype(np.uint16), gain


def made_ready(image: NDArray[Any], finish: Finish = "prior", **options: Any) -> Problem:
    settings, known = make_settings(scale=SCALE, kernel=blur(), finish=finish, **options)
    axes = "CYX"[3 - image.ndim :]
    return prepare(image, settings, axes=axes, known=known, mask=None, region=None)


def done(problem: Problem) -> Restored:
    steps = restored(problem, None, start=0.0, stop=False)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Restored = end.value
            return found


def decibels(image: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((image - truth) ** 2)))


@pytest.mark.parametrize(("finish", "least"), [("prior", 1.5), ("measurement", 0.3)])
@pytest.mark.parametrize("seed", [41, 42])
def test_it_is_restored_far_better_than_by_interpolation(
    finish: Finish, least: float, seed: int
) -> None:
    cells = fluorescent_cells((148, 148), seed=seed)
    image, gain = seen(cells, 500)
    truth = gain * cells[10:-10, 10:-10] + 100
    problem = made_ready(image, finish)
    assert problem.shot_noise is not None
    assert (median_height(problem.planes) <= 0.2).all()
    plain = interpolate(image, SCALE)
    assert decibels(done(problem).image, truth) > decibels(plain, truth) + least


def test_the_unit_is_that_of_the_image_without_its_noise() -> None:
    image, _ = seen(fluorescent_cells((148, 148), seed=41), 500)
    problem = made_ready(image)
    assert problem.conditions is not None
    low, span = float(problem.conditions.low), float(problem.conditions.span)
    values = problem.planes.data
    assert values.min() < low < np.quantile(values, 0.1)
    assert 0.8 < (low + span - values.min()) / np.ptp(values) < 1


@pytest.mark.parametrize("finish", ["prior", "measurement"])
def test_how_bright_the_channels_are_does_not_matter(finish: Finish) -> None:
    """Each channel has a unit of its own, so a faint one comes out as it does alone."""
    cells = [fluorescent_cells((148, 148), seed=seed) for seed in (3, 4)]
    bright, faint = (seen(one, photons)[0] for one, photons in zip(cells, (2000, 500), strict=True))
    problem = made_ready(np.stack([bright, faint]), finish)
    assert problem.shot_noise is not None
    assert problem.conditions is not None or finish == "measurement"
    shot_noise, both = problem.shot_noise, problem.conditions
    assert problem.planes.data[0].max() > 2.5 * problem.planes.data[1].max()
    alone = replace(
        problem,
        planes=replace(problem.planes, data=problem.planes.data[1:]),
        shot_noise=replace(
            shot_noise,
            levels=shot_noise.levels[1:],
            typical=shot_noise.typical[1:],
        ),
        conditions=None
        if both is None
        else replace(both, low=both.low[1:], span=both.span[1:], slope=both.slope[1:]),
    )
    together, by_itself = done(problem).image[1], done(alone).image[0]
    if finish == "measurement":
        np.testing.assert_allclose(together, by_itself, rtol=1e-4)
    else:
        # By itself, it may be turned another way.
        assert decibels(together, by_itself) > 30


def test_pictures_without_dark_surroundings_are_not_taken_for_it() -> None:
    picture = data.camera()[::3, ::3][:148, :148] / 255.0 + 0.05
    for truth in (picture, 1.1 - fluorescent_cells((148, 148), seed=5) / 2000):
        image, _ = seen(truth, 1000)
        problem = made_ready(image)
        assert problem.shot_noise is None or median_height(problem.planes)[0] > 0.3


def test_it_is_recognised_where_the_noise_is_given() -> None:
    image, _ = seen(fluorescent_cells((148, 148), seed=1), 500)
    problem = made_ready(image, noise=5.0)
    assert problem.shot_noise is not None
    assert (median_height(problem.planes) <= 0.2).all()
    np.testing.assert_allclose(problem.shot_noise.levels, 5 / problem.planes.span, rtol=1e-6)
