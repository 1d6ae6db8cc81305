from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from napari_blindsr.physics.observation import Observation, kernel_center, phase
from tests.helpers import golden, tensor

GEOMETRY = st.sampled_from(["camera", "benchmark"])
BORDER = st.sampled_from(["extend", "circular"])


def random_observation(
    scale: int, reach: int, shape: tuple[int, int, int], border: Literal["extend", "circular"]
) -> Observation:
    return Observation(
        data=torch.zeros(shape), scale=scale, kernel_size=2 * reach + 1, border=border
    )


@given(
    scale=st.integers(1, 4),
    reach=st.integers(0, 5),
    shape=st.tuples(st.just(2), st.integers(4, 9), st.integers(4, 9)),
    border=BORDER,
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_adjoint_is_the_transpose_of_predict(
    scale: int,
    reach: int,
    shape: tuple[int, int, int],
    border: Literal["extend", "circular"],
    seed: int,
) -> None:
    reach = min(reach, scale * min(shape[1:]) // 2)
    generator = torch.Generator().manual_seed(seed)
    observation = replace(
        random_observation(scale, reach, shape, border),
        measured=torch.rand(shape[1:], generator=generator) > 0.3,
        gain=0.3,
    )
    x = torch.randn(observation.canvas_shape, generator=generator, dtype=torch.float64)
    y = torch.randn(shape, generator=generator, dtype=torch.float64)
    size = observation.kernel_size
    kernel = torch.rand(size, size, generator=generator, dtype=torch.float64)
    forward = (observation.predict(x, kernel[None])[0] * y).sum()
    backward = (x * observation.adjoint(y, kernel)).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-9, atol=1e-9)


@given(scale=st.integers(1, 4), border=BORDER, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_predict_is_linear_in_image_and_kernel(
    scale: int, border: Literal["extend", "circular"], seed: int
) -> None:
    observation = random_observation(scale, 2, (1, 6, 7), border)
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, *observation.canvas_shape, generator=generator, dtype=torch.float64)
    k, m = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64)
    both = observation.predict(2 * a - 3 * b, torch.stack((k, k + m)))
    expected = 2 * observation.predict(a, k[None])[0] - 3 * observation.predict(b, k[None])[0]
    torch.testing.assert_close(both[0], expected)
    extra = observation.predict(2 * a - 3 * b, m[None])[0]
    torch.testing.assert_close(both[1], expected + extra)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_predict_agrees_with_scipy(scale: int) -> None:
    observation = random_observation(scale, 3, (1, 8, 9), "circular")
    rng = np.random.default_rng(0)
    image, kernel = rng.random(observation.canvas_shape[1:]), rng.random((7, 7))
    ours = observation.predict(torch.from_numpy(image)[None], torch.from_numpy(kernel)[None])
    theirs = correlate(image, kernel, mode="wrap")[::scale, ::scale]
    np.testing.assert_allclose(ours[0, 0].numpy(), theirs, rtol=1e-12)


def test_extend_is_the_valid_part_of_a_larger_scene() -> None:
    rng = np.random.default_rng(0)
    observation = random_observation(2, 3, (1, 8, 9), "extend")
    scene, kernel = rng.random(observation.canvas_shape[1:]), rng.random((7, 7))
    ours = observation.predict(torch.from_numpy(scene)[None], torch.from_numpy(kernel)[None])
    theirs = correlate(scene, kernel, mode="constant", cval=np.nan)[3:-3, 3:-3][::2, ::2]
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(ours[0, 0].numpy(), theirs, rtol=1e-12)
    assert observation.crop(torch.from_numpy(scene)).shape == (16, 18)


def test_degradation_is_the_reference_one() -> None:
    lr = tensor(golden("degrade_lr_x4")).movedim(-1, 0)
    hr = tensor(golden("degrade_hr")).movedim(-1, 0)
    observation = Observation(
        data=lr, scale=4, kernel_size=19, geometry="benchmark", border="circular"
    )
    prediction = observation.predict(hr, tensor(golden("degrade_kernel"))[None])[0]
    torch.testing.assert_close(prediction, lr, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scale", "size", "center"), [(2, 11, 4.5), (3, 15, 6), (4, 19, 7.5)])
def test_centre_of_the_published_test_data(scale: int, size: int, center: float) -> None:
    assert kernel_center(size, scale, "benchmark") == center
    assert kernel_center(21, 8, "benchmark") == 6.5


@given(scale=st.integers(1, 8), geometry=GEOMETRY, position=st.integers(3, 5))
@settings(deadline=None)
def test_a_lr_pixel_sees_the_hr_position_that_the_phase_says(
    scale: int, geometry: Literal["camera", "benchmark"], position: int
) -> None:
    # A ramp blurred by a kernel centred at c measures the ramp at scale·i + δ.
    size = 4 * scale + 3
    observation = Observation(
        data=torch.zeros(1, 9, 9, dtype=torch.float64),
        scale=scale,
        kernel_size=size,
        geometry=geometry,
    )
    row, column = kernel_center(size, scale, geometry), size // 2
    kernel = torch.zeros(size, size, dtype=torch.float64)
    low = int(row)
    kernel[low, column] = 1 - (row - low)
    kernel[low + 1, column] = row - low
    height, width = observation.canvas_shape[1:]
    ramp = torch.arange(height, dtype=torch.float64) - observation.margin
    measured = observation.predict(ramp[None, :, None].expand(1, height, width), kernel[None])
    expected = scale * position + phase(scale, geometry)
    assert measured[0, 0, position, 4].item() == pytest.approx(expected)


def test_camera_pixels_cover_their_hr_pixels() -> None:
    # The s HR pixels of LR pixel 0 are 0 … s − 1: its middle is their mean.
    for scale in range(1, 9):
        assert phase(scale, "camera") == sum(range(scale)) / scale


def test_covered_pixels_are_zero_and_a_gain_darkens() -> None:
    observation = random_observation(2, 2, (1, 6, 7), "extend")
    measured = torch.rand(6, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    canvas, kernel = torch.rand(observation.canvas_shape), torch.full((1, 5, 5), 1 / 25)
    bright = observation.predict(canvas, kernel)[0]
    dark = replace(observation, measured=measured, gain=0.3).predict(canvas, kernel)[0]
    torch.testing.assert_close(dark, 0.3 * bright * measured)


def test_completed_data_are_bright_and_filled_in() -> None:
    observation = random_observation(2, 2, (1, 6, 7), "extend")
    measured = torch.rand(6, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    canvas, kernel = torch.rand(observation.canvas_shape), torch.full((5, 5), 1 / 25)
    bright = observation.predict(canvas, kernel[None])[0]
    dark = replace(observation, data=0.3 * bright * measured, measured=measured, gain=0.3)
    torch.testing.assert_close(dark.completed(canvas, kernel), bright)


def test_a_dark_observation_is_brightened_as_a_whole() -> None:
    observation = random_observation(2, 2, (1, 6, 7), "extend")
    guess = torch.rand(observation.data.shape)
    dark = replace(observation, data=0.25 * guess, guess=0.25 * guess, noise=0.5, gain=0.25)
    bright = dark.brightened()
    assert bright.gain == 1
    assert bright.noise == 2
    assert bright.guess is not None
    torch.testing.assert_close(bright.data, guess)
    torch.testing.assert_close(bright.guess, guess)


@given(scale=st.integers(1, 4), geometry=GEOMETRY, border=BORDER, seed=st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_support_is_zero_where_all_that_sees_a_pixel_is_covered(
    scale: int,
    geometry: Literal["camera", "benchmark"],
    border: Literal["extend", "circular"],
    seed: int,
) -> None:
    size = 4 * scale + 3
    observation = Observation(
        data=torch.zeros(1, 12, 13),
        scale=scale,
        kernel_size=size,
        geometry=geometry,
        border=border,
        measured=torch.rand(12, 13, generator=torch.Generator().manual_seed(seed)) > 0.7,
    )
    axis = torch.arange(size) - observation.center
    core = (axis[:, None].square() + axis[None, :].square()) <= (scale + 0.6) ** 2
    support = observation.support(core)
    assert support.shape == observation.result_shape[1:]
    assert support.min() >= 0
    assert support.max() <= 1 + 1e-6
    # Independently: walk through the LR pixels that see one HR pixel.
    assert observation.measured is not None
    row, column = 5 * scale + 1, 6 * scale
    seen = [
        bool(observation.measured[i, j])
        for i in range(2, 9)
        for j in range(3, 10)
        for u, v in [(row - scale * i + size // 2, column - scale * j + size // 2)]
        if 0 <= u < size and 0 <= v < size and observation._box(core)[u, v]
    ]
    assert support[row, column].item() == pytest.approx(sum(seen) / len(seen), abs=1e-5)


def test_without_covered_pixels_support_lacks_at_extended_borders_alone() -> None:
    core = torch.ones(7, 7, dtype=torch.bool)
    circular = random_observation(2, 3, (1, 8, 8), "circular").support(core)
    torch.testing.assert_close(circular, torch.ones(16, 16))
    extended = random_observation(2, 3, (1, 8, 8), "extend").support(core)
    torch.testing.assert_close(extended[4:-4, 4:-4], torch.ones(8, 8))
    assert 0 < extended[0, 0] < 0.5
