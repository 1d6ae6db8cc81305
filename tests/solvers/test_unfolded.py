"""The image prior: what holds for any weights, and loosely what holds for those that ship."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.solvers.nonblind.data_step import LEVELS, ROUNDING, DataModule
from napari_blindsr.solvers.nonblind.image_prior import unfolded
from napari_blindsr.solvers.nonblind.unfolded import (
    ITERATIONS,
    Denoiser,
    UnfoldedPrior,
    _level_maps,
    load_image_prior,
)


def blur(scale: int, *, widths: tuple[float, float] = (0.6, 0.3), size: int = 15) -> Tensor:
    return render_gaussian(
        scale**2 * torch.tensor([widths]),
        torch.tensor([0.6]),
        size=size,
        center=kernel_center(size, scale, "camera"),
    )[0]


def random_prior() -> UnfoldedPrior:
    """Return a network whose denoiser does something, unlike a new one's."""
    torch.manual_seed(0)
    network = UnfoldedPrior().requires_grad_(False)
    network.denoiser.tail.weight.normal_(std=0.02)
    network.denoiser.recall.weight.normal_(std=0.02)
    network.weights.normal_(std=0.3)
    return network


def observed(scale: int, *, noise: float = 0.0) -> tuple[Observation, Tensor, Tensor]:
    """Return an observation of a picture that was not trained on, its kernel, and the truth."""
    kernel = blur(scale)
    sharp = torch.from_numpy(data.camera()[80:240, 150:320] / 255).float()[None]
    height, width = ((n - 14) // scale for n in sharp.shape[-2:])
    frame = Observation(data=torch.zeros(1, height, width), scale=scale, kernel_size=15)
    sharp = sharp[:, : frame.canvas_shape[1], : frame.canvas_shape[2]]
    values = frame.predict(sharp, kernel[None])[0]
    values = values + noise * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return replace(frame, data=values), kernel, frame.crop(sharp)


def spread(values: Tensor) -> float:
    """Return the root mean square."""
    return float(values.square().mean().sqrt())


@settings(deadline=None, max_examples=15)
@given(
    gain=st.floats(0.01, 100),
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    seed=st.integers(0, 100),
)
def test_the_denoiser_is_homogeneous(gain: float, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    denoiser = Denoiser((8, 8, 8)).double().requires_grad_(False)
    planes = torch.rand(2, height, width, dtype=torch.float64)
    before = torch.rand(2, height, width, dtype=torch.float64)
    half = (4 * -(-height // 8), 4 * -(-width // 8))
    levels = torch.rand(2, LEVELS, *half, dtype=torch.float64)
    memory = torch.rand(2, 8, *half, dtype=torch.float64)
    found, features = denoiser(planes, before, levels, memory)
    assert found.shape == planes.shape
    assert features.shape == memory.shape
    assert spread(found - planes) > 1e-6
    bright, brighter = denoiser(gain * planes, gain * before, gain * levels, gain * memory)
    torch.testing.assert_close(bright, gain * found)
    torch.testing.assert_close(brighter, gain * features)
    forgetful, _ = denoiser(planes, before, levels, None)
    assert not torch.equal(forgetful, found)


@pytest.mark.parametrize("gain", [0.5, 2.0])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_brighter_image_with_more_noise_comes_out_brighter(scale: int, gain: float) -> None:
    # Only nearly so: how much contrast pictures have, and what is called much noise, is fixed.
    noise = 0.03
    assert noise * min(1, gain) > 10 * ROUNDING
    observation, kernel, truth = observed(scale, noise=noise)
    network = load_image_prior()
    plain = unfolded(observation, kernel, network, noise=noise)
    bright = replace(observation, data=gain * observation.data)
    found = unfolded(bright, kernel, network, noise=gain * noise) / gain
    assert spread(found - plain) < 0.75 * spread(plain - truth)
    assert spread(found - truth) < 1.25 * spread(plain - truth)


def test_a_new_network_removes_nothing_and_fits_the_data() -> None:
    torch.manual_seed(0)
    network, kernel = UnfoldedPrior().requires_grad_(False), blur(2)
    planes = torch.rand(2, 11, 14)
    module = DataModule(planes, kernel, 2)
    iterates = [r.image for r in network.rounds(planes, kernel, scale=2, noise=0.05)]
    images = [module.linear(0.05**2 + ROUNDING**2), *iterates]
    residuals = [spread(module.predict(image) - planes) for image in images]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 0.95 * residuals[0]


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 12, 5)])
def test_sizes_that_are_no_multiples_of_anything(
    shape: tuple[int, int, int], border: Any, scale: int
) -> None:
    planes = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    observation = Observation(data=planes, scale=scale, kernel_size=15, border=border)
    image = unfolded(observation, blur(scale), random_prior(), noise=0.02)
    assert image.shape == observation.result_shape
    assert torch.isfinite(image).all()
    assert not image.requires_grad


def test_a_batch_of_kernels_equals_one_by_one() -> None:
    network = random_prior()
    planes = torch.rand(3, 11, 14, generator=torch.Generator().manual_seed(0))
    kernels = torch.stack([blur(2, widths=w) for w in ((0.6, 0.3), (1.0, 1.0), (0.2, 0.1))])
    noise = torch.tensor([0.0, 0.02, 0.1])
    together = [r.image for r in network.rounds(planes, kernels, scale=2, noise=noise)]
    assert len(together) == ITERATIONS
    for i in range(3):
        apart = network(planes[i : i + 1], kernels[i], scale=2, noise=float(noise[i]))
        torch.testing.assert_close(together[-1][i : i + 1], apart, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network(planes, kernels, scale=2, noise=noise), together[-1])


@pytest.mark.parametrize("border", ["extend", "circular"])
def test_noise_can_be_given_for_each_pixel(border: Any) -> None:
    network, kernel = random_prior(), blur(2)
    planes = torch.rand(2, 11, 14, generator=torch.Generator().manual_seed(0))
    observation = Observation(data=planes, scale=2, kernel_size=15, border=border)
    everywhere = unfolded(observation, kernel, network, noise=0.05)
    level = torch.full_like(planes, 0.05)
    found = unfolded(observation, kernel, network, noise=level)
    torch.testing.assert_close(found, everywhere)
    # More noise in one half of one channel changes nothing in the other channel.
    level[0, :, 7:] = 0.2
    other = unfolded(observation, kernel, network, noise=level)
    assert spread(other[0] - everywhere[0]) > 1e-3
    torch.testing.assert_close(other[1], everywhere[1])


def test_where_noise_is_strong_more_of_it_is_removed() -> None:
    observation, kernel, truth = observed(2)
    height, width = observation.data.shape[-2:]
    level = torch.full((1, height, width), 0.01)
    level[..., width // 2 :] = 0.1
    grain = torch.randn(level.shape, generator=torch.Generator().manual_seed(1))
    noisy = replace(observation, data=observation.data + level * grain)
    network = load_image_prior()
    local = unfolded(noisy, kernel, network, noise=level)
    alike = unfolded(noisy, kernel, network, noise=float(level.square().mean().sqrt()))
    assert spread(local - truth) < spread(alike - truth)


@pytest.mark.parametrize("scale", [1, 2, 3, 5])
def test_the_maps_of_the_noise_lie_over_the_pixels(scale: int) -> None:
    variance = torch.ones(2, 7, 9)
    variance[0, 4, 5] = 100
    maps = _level_maps(variance, blur(scale), scale)
    assert maps.shape == (2, LEVELS, 4 * -(-7 * scale // 8), 4 * -(-9 * scale // 8))
    rows, columns = (maps[0, 0] > 1).nonzero().unbind(1)
    # The HR pixels of an LR pixel, at half the resolution.
    for found, place in ((rows, 4), (columns, 5)):
        assert bool((2 * found >= place * scale).all())
        assert bool((2 * found < (place + 1) * scale).all())
    assert bool((maps[1, 0] == 1).all())


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("scale", [2, 3])
def test_the_other_geometry_is_the_mirror_image(scale: int, border: Any) -> None:
    planes = torch.rand(1, 12, 9, generator=torch.Generator().manual_seed(0))
    # A new denoiser does nothing; others see where pixels lie on the grid that they fold.
    kernel, network = blur(scale), UnfoldedPrior().requires_grad_(False)
    level = torch.linspace(0.01, 0.1, planes.numel()).reshape(planes.shape)
    camera = Observation(data=planes, scale=scale, kernel_size=15, border=border)
    other = replace(camera, geometry="benchmark", data=planes.flip(1, 2))
    first = unfolded(camera, kernel, network, noise=level)
    second = unfolded(other, kernel.flip(0, 1), network, noise=level.flip(1, 2))
    # Outer edges coincide in both geometries: whole images turn by half a turn. LR pixels 0, s, …
    # of the one are pixels s − 1, 2s − 1, … of the other.
    shifted = second.flip(1, 2).roll((1 - scale, 1 - scale), (1, 2))
    if border == "extend":
        inner = (slice(None), slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
        first, shifted = first[inner], shifted[inner]
    torch.testing.assert_close(first, shifted, rtol=1e-3, atol=1e-4)


def test_channels_are_independent() -> None:
    network, kernel = random_prior(), blur(2)
    planes = torch.rand(4, 11, 14, generator=torch.Generator().manual_seed(0))
    observation = Observation(data=planes, scale=2, kernel_size=15)
    image = unfolded(observation, kernel, network, noise=0.02)
    for i in range(4):
        alone = replace(observation, data=planes[i : i + 1])
        found = unfolded(alone, kernel, network, noise=0.02)
        torch.testing.assert_close(image[i], found[0])


@pytest.mark.parametrize("scale", [2, 4])
def test_opposite_borders_do_not_see_each_other(scale: int) -> None:
    observation, kernel, _ = observed(scale)
    other = observation.data.clone()
    # Another scene at the left border alone; what a blur could have made of it.
    strip = 20 // scale
    fade = torch.linspace(1, 0, strip)
    other[..., :strip] += fade * (other[..., :strip].flip(1) - other[..., :strip])

    def change(border: Any) -> Tensor:
        first, second = (
            unfolded(replace(observation, data=d, border=border), kernel, load_image_prior())
            for d in (observation.data, other)
        )
        return (first - second).abs()

    extended, wrapped = change("extend"), change("circular")
    side = 3 * scale
    assert float(extended[..., :side].mean()) > 0.05
    assert float(extended[..., -side:].mean()) < 0.05 * float(extended[..., :side].mean())
    assert float(extended[..., -side:].mean()) < 0.3 * float(wrapped[..., -side:].mean())


def hole(observation: Observation) -> tuple[Tensor, Tensor]:
    """Return where the data are measured, and HR pixels that see a hole in them."""
    scale = observation.scale
    measured = torch.ones(observation.data.shape[-2:], dtype=torch.bool)
    measured[20:23, 14:17] = False
    near = torch.zeros(observation.result_shape[1:], dtype=torch.bool)
    near[17 * scale : 26 * scale, 11 * scale : 20 * scale] = True
    return measured, near


@pytest.mark.parametrize("scale", [2, 4])
def test_what_was_not_measured_is_not_explained(scale: int) -> None:
    observation, kernel, truth = observed(scale, noise=0.01)
    measured, near = hole(observation)
    spoilt = observation.data.clone()
    spoilt[:, ~measured] = observation.data.mean()
    covered = replace(observation, data=spoilt)
    network = load_image_prior()
    kept = unfolded(covered, kernel, network, noise=0.01, measured=measured)
    taken = unfolded(covered, kernel, network, noise=0.01)
    assert spread((kept - truth)[:, near]) < spread((taken - truth)[:, near])


@pytest.mark.parametrize("scale", [2, 4])
def test_a_guess_of_what_was_not_measured_stays_where_it_is(scale: int) -> None:
    observation, kernel, truth = observed(scale, noise=0.01)
    measured, near = hole(observation)
    smooth = observation.data.clone()
    filled = inpaint_biharmonic(smooth.numpy(), ~measured.numpy(), channel_axis=0)
    smooth[:, ~measured] = torch.from_numpy(filled).float()[:, ~measured]
    flat = smooth.clone()
    flat[:, ~measured] = smooth.mean()
    first, second = (
        unfolded(
            replace(observation, data=d), kernel, load_image_prior(), noise=0.01, measured=measured
        )
        for d in (smooth, flat)
    )
    far = ~torch.nn.functional.max_pool2d(
        near.float()[None], 4 * scale + 1, stride=1, padding=2 * scale
    )[0].bool()
    assert spread((first - second)[:, far]) < 0.02
    assert spread((first - second)[:, far]) < 0.1 * spread((first - second)[:, near])
    # A smooth continuation is all that it takes.
    everything = unfolded(observation, kernel, load_image_prior(), noise=0.01)
    assert spread((first - truth)[:, far]) < 1.05 * spread((everything - truth)[:, far])


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_it_is_stable_if_noise_and_kernel_are_a_little_off(scale: int) -> None:
    observation, kernel, truth = observed(scale, noise=0.01)
    network = load_image_prior()
    best = spread(unfolded(observation, kernel, network, noise=0.01) - truth)
    for noise in (0.005, 0.02):
        assert spread(unfolded(observation, kernel, network, noise=noise) - truth) < 1.3 * best
    wider = blur(scale, widths=(0.6 * 1.2**2, 0.3 * 1.2**2))
    assert spread(unfolded(observation, wider, network, noise=0.01) - truth) < 1.5 * best


def test_gradients_reach_every_weight() -> None:
    network = random_prior().requires_grad_()
    # The last layer of the levels starts at zero, and with it what leads there.
    torch.nn.init.normal_(network.levels[2].weight, std=0.1)  # type: ignore[arg-type]
    planes = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    rounds = network.rounds(planes, blur(2), scale=2, noise=torch.tensor([0.01, 0.05]))
    torch.stack([one.image.square().mean() for one in rounds]).sum().backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert bool(value.grad.any()), name


def test_a_brief_restoration_takes_two_rounds() -> None:
    network = load_image_prior()
    planes = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))

    def levels(*, brief: bool) -> list[float]:
        rounds = network.rounds(planes, blur(2), scale=2, noise=0.01, brief=brief)
        return [float(one.noise) for one in rounds]

    plain = levels(brief=False)
    assert len(plain) == ITERATIONS
    assert levels(brief=True) == [plain[1], plain[4]]


def pictures_seen(kernel: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return pictures (1, 144, 144), and what is seen of them at scale 3."""
    pairs = []
    for name in ("coins", "camera", "text", "page"):
        sharp = torch.from_numpy(getattr(data, name)()[:144, 200:344] / 255).float()[None]
        pairs.append((sharp, DataModule(sharp[:, ::3, ::3], kernel, 3).predict(sharp)))
    return pairs
