"""The finish without a learned prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage import data
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.solvers.nonblind.data_step import ROUNDING, DataModule
from napari_blindsr.solvers.nonblind.sparse import sparse, sparse_planes
from training.pictures import PHOTOGRAPHS

PICTURE = "coins"


def blur(scale: int, size: int = 21, geometry: Any = "camera") -> Tensor:
    variances = torch.tensor([[0.6 * scale**2, 0.3 * scale**2]])
    return render_gaussian(
        variances, torch.tensor([0.6]), size=size, center=kernel_center(size, scale, geometry)
    )[0]


def observed(
    scale: int, *, noise: float = 0.0, **options: Any
) -> tuple[Observation, Tensor, Tensor]:
    """Return an observation of a picture, 8 bits deep, its kernel, and the truth."""
    kernel = blur(scale, geometry=options.get("geometry", "camera"))
    sharp = torch.from_numpy(getattr(data, PICTURE)()[20:220, 30:250] / 255).float()[None]
    size = kernel.shape[-1]
    height, width = ((n - size + 1) // scale for n in sharp.shape[-2:])
    frame = Observation(
        data=torch.zeros(1, height, width), scale=scale, kernel_size=size, **options
    )
    sharp = sharp[:, : frame.canvas_shape[1], : frame.canvas_shape[2]]
    values = frame.predict(sharp, kernel[None])[0]
    values = values + noise * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return replace(frame, data=(255 * values).round() / 255), kernel, frame.crop(sharp)


def decibels(estimate: Tensor, truth: Tensor) -> float:
    return float(-10 * (estimate - truth).square().mean().log10())


def interpolated(observation: Observation, order: int) -> Tensor:
    """Return the data enlarged by splines of an order, in the right place."""
    low, scale = observation.data[0].numpy(), observation.scale
    if order == 3:
        fine = interpolate(low, scale=scale, geometry=observation.geometry)
        return torch.from_numpy(fine)[None]
    places = [(np.arange(scale * n) - observation.offset) / scale for n in low.shape]
    grid = np.meshgrid(*places, indexing="ij")
    return torch.from_numpy(map_coordinates(low, grid, order=order, mode="nearest"))[None]


def test_the_picture_is_none_that_is_trained_on() -> None:
    assert PICTURE not in PHOTOGRAPHS


@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_it_is_better_than_interpolation(scale: int, noise: float, geometry: Any) -> None:
    observation, kernel, truth = observed(scale, noise=noise, geometry=geometry)
    found = decibels(sparse(observation, kernel, noise=noise), truth)
    for order in (1, 3):
        assert found > decibels(interpolated(observation, order), truth) + 1


@pytest.mark.parametrize("scale", [2, 4])
def test_few_edges_are_better_than_a_smooth_spectrum(scale: int) -> None:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand(1, 8, 8, generator=generator)
    truth = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
    kernel = blur(scale)
    frame = DataModule(torch.zeros(1, 128 // scale, 128 // scale), kernel, scale)
    values = frame.predict(truth)
    found = sparse_planes(values, kernel, scale=scale, noise=0.002)
    linear = DataModule(values, kernel, scale).linear(0.002**2 + ROUNDING**2)
    assert decibels(found, truth) > decibels(linear, truth) + 1


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_flux_is_kept(scale: int, border: Any) -> None:
    observation, kernel, _ = observed(scale, border=border)
    image = sparse(observation, kernel)
    assert float(image.mean()) == pytest.approx(float(observation.data.mean()), rel=0.01)
    if border == "circular":
        assert float(image.mean()) == pytest.approx(float(observation.data.mean()), rel=1e-4)


def test_the_image_explains_the_data() -> None:
    observation, kernel, _ = observed(2)
    canvas = sparse(observation, kernel, canvas=True)
    assert canvas.shape == observation.canvas_shape
    residual = observation.predict(canvas, kernel[None])[0] - observation.data
    assert float(residual.square().mean().sqrt()) < 2 / 255
    torch.testing.assert_close(observation.crop(canvas), sparse(observation, kernel))


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("canvas", [True, False])
@pytest.mark.parametrize("shape", [(1, 7, 12), (3, 11, 6)])
def test_any_size(shape: tuple[int, int, int], scale: int, border: Any, *, canvas: bool) -> None:
    planes = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    observation = Observation(data=planes, scale=scale, kernel_size=21, border=border)
    image = sparse(observation, blur(scale), noise=0.02, canvas=canvas)
    assert image.shape == (observation.canvas_shape if canvas else observation.result_shape)
    assert torch.isfinite(image).all()
    # Channels are restored one by one.
    first = replace(observation, data=planes[:1])
    alone = sparse(first, blur(scale), noise=0.02, canvas=canvas)
    torch.testing.assert_close(image[:1], alone, rtol=1e-4, atol=1e-5)


def test_what_was_not_measured_is_not_explained() -> None:
    observation, kernel, truth = observed(2)
    measured = torch.ones(observation.data.shape[-2:], dtype=torch.bool)
    measured[30:33, 40:43] = False
    spoilt = observation.data.clone()
    spoilt[:, ~measured] = observation.data[:, 29, 40:43].mean()
    covered = replace(observation, data=spoilt)
    near = (slice(None), slice(56, 70), slice(76, 90))
    kept = sparse(covered, kernel, measured=measured)
    taken = sparse(covered, kernel)
    assert decibels(kept[near], truth[near]) > decibels(taken[near], truth[near]) + 1


def test_opposite_borders_do_not_see_each_other() -> None:
    observation, kernel, _ = observed(2)
    other = observation.data.clone()
    other[..., :6] = other[..., :6].flip(1)
    first, second = (
        sparse(replace(observation, data=values), kernel, noise=0.01)
        for values in (observation.data, other)
    )
    change = (first - second).abs()
    assert float(change[..., :12].mean()) > 0.05
    assert float(change[..., -12:].max()) < 0.1 * float(change[..., :12].mean())


def test_each_channel_may_have_a_noise_of_its_own() -> None:
    observation, kernel, _ = observed(2)
    both = replace(observation, data=observation.data.expand(2, -1, -1))
    found = sparse(both, kernel, noise=torch.tensor([0.01, 0.05]))
    for channel, noise in zip(found, (0.01, 0.05), strict=True):
        torch.testing.assert_close(channel[None], sparse(observation, kernel, noise=noise))
