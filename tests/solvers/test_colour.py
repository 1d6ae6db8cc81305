"""Luma and colour differences, and what the image prior makes of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch import Tensor

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.metrics import luma
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.solvers.nonblind.error_map import load_error_map
from napari_blindsr.solvers.nonblind.image_prior import (
    from_luma,
    noise_of_luma,
    shares_detail,
    to_luma,
    unfolded,
)
from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior, load_image_prior


def picture() -> Tensor:
    """Return a colour picture (3, 128, 128) that was not trained on."""
    image = data.immunohistochemistry()[200:328, 200:328]
    return torch.from_numpy(np.moveaxis(image, -1, 0) / np.float32(255)).float()


def seen(sharp: Tensor, *, noise: float = 0.0) -> tuple[Observation, Tensor]:
    """Return what half as many pixels see of a picture, blurred, and the kernel."""
    size = 15
    kernel = render_gaussian(
        torch.tensor([[2.4, 1.2]]),
        torch.tensor([0.6]),
        size=size,
        center=kernel_center(size, 2, "benchmark"),
    )[0]
    values = DataModule(sharp[:, ::2, ::2], kernel, 2).predict(sharp)
    values = values + noise * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    frame = Observation(
        data=values, scale=2, kernel_size=size, geometry="benchmark", border="circular"
    )
    return frame, kernel


def inner(planes: Tensor) -> Tensor:
    """Leave out borders, which are no neighbours in the picture."""
    return planes[:, 8:-8, 8:-8]


def psnr(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(float(inner(image.clamp(0, 1) - truth).square().mean()))


# The first call loads a part of torch.
@settings(deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 5), width=st.integers(1, 5))
def test_there_and_back(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    channels = torch.rand(3, height, width, generator=generator, dtype=torch.float64)
    planes = to_luma(channels)
    assert float(planes[0].min()) >= 0
    assert float(planes[0].max()) <= 1
    assert float(planes[1:].abs().max()) <= 0.5
    torch.testing.assert_close(from_luma(planes), channels)


def test_grey_has_no_colour_differences() -> None:
    grey = torch.linspace(0, 1, 5, dtype=torch.float64).expand(3, 1, 5)
    planes = to_luma(grey)
    torch.testing.assert_close(planes[0], grey[0])
    torch.testing.assert_close(planes[1:], torch.zeros_like(planes[1:]))


def test_the_luma_is_the_one_that_results_are_scored_by() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    channels = torch.from_numpy(np.moveaxis(pixels / 255, -1, 0))
    scored = (luma(pixels) - 16) / 219
    np.testing.assert_allclose(to_luma(channels)[0], scored, atol=1e-9)


def test_noise_is_given_as_it_is() -> None:
    sigma = torch.tensor([0.01, 0.02, 0.04], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 300, 300, generator=generator, dtype=torch.float64)
    found = to_luma(sigma[:, None, None] * noise).std(dim=(1, 2))
    torch.testing.assert_close(noise_of_luma(sigma), found, rtol=0.02, atol=0)
    everywhere = sigma[:, None, None].expand(3, 2, 2)
    torch.testing.assert_close(noise_of_luma(everywhere)[:, 0, 0], noise_of_luma(sigma))


def stains() -> Tensor:
    """Return three channels that have nothing to do with each other."""
    cells = np.stack([fluorescent_cells((128, 128), seed=seed) for seed in (1, 2, 3)])
    return torch.from_numpy(cells / cells.max(axis=(1, 2), keepdims=True)).float()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_pictures_share_their_detail_and_stains_do_not(noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for channels, shared in ((picture(), True), (stains(), False)):
        noisy = channels + noise * torch.randn(channels.shape, generator=generator)
        assert shares_detail(noisy, torch.full((3,), noise)) is shared


def test_what_was_not_measured_is_no_detail() -> None:
    channels, sigma = picture(), torch.zeros(3)
    measured = torch.ones(channels.shape[1:], dtype=torch.bool)
    measured[40:80, 30:90] = False
    spoilt = channels.clone()
    spoilt[0, ~measured] = torch.rand(int((~measured).sum()))
    assert not shares_detail(spoilt, sigma)
    assert shares_detail(spoilt, sigma, measured=measured)


def test_one_pixel_is_no_reason_to_fail() -> None:
    assert shares_detail(torch.rand(3, 1, 1), torch.zeros(3))
    assert shares_detail(torch.rand(3, 4, 1), torch.zeros(3), measured=torch.zeros(4, 1).bool())


@pytest.mark.parametrize(("noise", "gain"), [(0.0, -0.6), (0.01, 0.2), (0.03, 0.3)])
def test_colour_pictures_come_out_better(noise: float, gain: float) -> None:
    sharp = picture()
    frame, kernel = seen(sharp, noise=noise)
    network = load_image_prior()
    apart, together = (
        unfolded(frame, kernel, network, noise=noise, colour=colour) for colour in (False, True)
    )
    assert psnr(together, sharp) > psnr(apart, sharp) + gain


def test_a_grey_picture_of_three_channels_is_what_it_is_as_one() -> None:
    sharp = picture()[1:2]
    frame, kernel = seen(sharp)
    network = load_image_prior()
    grey = unfolded(frame, kernel, network)
    three = replace(frame, data=frame.data.expand(3, -1, -1))
    image = unfolded(three, kernel, network, colour=True)
    torch.testing.assert_close(inner(image), inner(grey.expand_as(image)), atol=4e-3, rtol=0)


def test_what_is_neutral_stays_neutral() -> None:
    frame, kernel = seen(picture()[1:2], noise=0.02)
    three = replace(frame, data=frame.data.expand(3, -1, -1))
    image = unfolded(three, kernel, load_image_prior(), noise=0.02, colour=True)
    # A tenth of a grey level of 255.
    assert float((image - image.mean(dim=0)).abs().max()) < 0.1 / 255


def test_a_map_of_noise_is_mixed_as_the_channels_are() -> None:
    frame, kernel = seen(picture(), noise=0.02)
    network = load_image_prior()
    number = unfolded(frame, kernel, network, noise=0.02, colour=True)
    each = unfolded(frame, kernel, network, noise=torch.full((3,), 0.02), colour=True)
    level = torch.full_like(frame.data, 0.02)
    everywhere = unfolded(
        frame, kernel, network, noise=level, typical=torch.full((3,), 0.02), colour=True
    )
    torch.testing.assert_close(each, number)
    torch.testing.assert_close(everywhere, number)


def test_errors_are_those_of_the_channels() -> None:
    frame, kernel = seen(picture())
    network, errors = load_image_prior(), load_error_map()
    first, second = (
        unfolded(frame, kernel, network, errors=errors, colour=colour) for colour in (False, True)
    )
    torch.testing.assert_close(first, second)


def test_the_luma_gets_the_rounds() -> None:
    frame, kernel = seen(picture())
    calls: list[bool] = []

    class Counting(UnfoldedPrior):
        def forward(self, *arguments: object, **options: object) -> Tensor:
            calls.append(bool(options.get("brief")))
            return super().forward(*arguments, **options)  # type: ignore[arg-type]

    network = Counting().requires_grad_(False)
    unfolded(frame, kernel, network, colour=True)
    # The differences and their negatives are treated alike.
    assert calls == [False, *[True] * 4]
