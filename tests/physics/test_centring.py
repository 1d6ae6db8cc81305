from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_blindsr.physics.centring import locate, recentre, shift
from napari_blindsr.physics.kernels import render_gaussian
from tests.helpers import observe

OFFSET = st.floats(-1.5, 1.5)


def gaussian(center: float, *, variances: tuple[float, float] = (6.0, 2.0)) -> torch.Tensor:
    return render_gaussian(torch.tensor([variances]), torch.tensor([0.7]), size=19, center=center)[
        0
    ]


@given(center=st.floats(6.5, 11.5), variance=st.floats(1.0, 12.0))
@settings(deadline=None, max_examples=40)
def test_locates_a_gaussian(center: float, variance: float) -> None:
    row, column = locate(gaussian(center, variances=(variance, 0.5 * variance)))
    assert row == pytest.approx(center, abs=1e-2)
    assert column == pytest.approx(center, abs=1e-2)


def test_a_cut_or_a_floor_does_not_mislead() -> None:
    wide = gaussian(6.5, variances=(20.0, 20.0))
    assert locate(wide) == pytest.approx((6.5, 6.5), abs=0.02)
    floor = gaussian(7.5) + 0.003
    assert locate(floor) == pytest.approx((7.5, 7.5), abs=0.05)


def test_locates_what_is_no_gaussian_by_its_core() -> None:
    line = torch.zeros(19, 19)
    line[7, 3:12] = 1 / 9
    assert locate(line) == pytest.approx((7, 7))
    box = torch.zeros(19, 19)
    box[4:9, 5:10] = 1 / 25
    assert locate(box) == pytest.approx((6, 7))


@given(row=OFFSET, column=OFFSET)
@settings(deadline=None, max_examples=30)
def test_shift_samples_between_pixels(row: float, column: float) -> None:
    size = 48
    grid = 2 * math.pi / size * torch.arange(size, dtype=torch.float64)

    def wave(y: float, x: float) -> torch.Tensor:
        step = 2 * math.pi / size
        return torch.sin(3 * grid + 3 * step * y)[:, None] * torch.cos(5 * grid + 5 * step * x)

    moved = shift(wave(0, 0)[None], (row, column), border="circular")[0]
    torch.testing.assert_close(moved, wave(row, column), rtol=0, atol=5e-3)


def test_shift_by_whole_pixels_is_exact() -> None:
    image = torch.rand(2, 20, 20, dtype=torch.float64)
    moved = shift(image, (2.0, -1.0), border="circular")
    torch.testing.assert_close(moved, image.roll((-2, 1), dims=(1, 2)), rtol=0, atol=1e-12)


@given(row=OFFSET, column=OFFSET, border=st.sampled_from(["extend", "circular"]))
@settings(deadline=None, max_examples=20)
def test_recentring_keeps_the_prediction(row: float, column: float, border: str) -> None:
    observation = observe((1, 24, 24), kernel_size=19, border=border)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 9, 9, generator=generator)
    canvas = torch.nn.functional.interpolate(
        coarse, size=observation.canvas_shape[1:], mode="bicubic"
    )[0]
    centred = gaussian(observation.center, variances=(4.0, 3.0))
    kernel = shift(centred, (row, column), border="zero").clamp_min(0)
    kernel = kernel / kernel.sum()
    image, moved = recentre(canvas, kernel, center=observation.center, border=border)
    assert locate(moved) == pytest.approx((observation.center,) * 2, abs=0.05)
    before = observation.predict(canvas, kernel[None])[0, 0]
    after = observation.predict(image, moved[None])[0, 0]
    # Near the border of the canvas the moved image has to be made up.
    torch.testing.assert_close(after[4:-4, 4:-4], before[4:-4, 4:-4], rtol=0, atol=5e-3)
