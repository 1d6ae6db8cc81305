"""Photometry: brightness is kept region by region, in any orientation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_blindsr.images.planes import Orientation
from napari_blindsr.metrics.residual import predict
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.solvers.nonblind.photometry import (
    REGION,
    mean_correction,
    predicted,
    turned_kernel,
)

ALL = [
    Orientation(rows=rows, columns=columns, transposed=transposed)
    for rows, columns, transposed in product((False, True), repeat=3)
]


def kernel(scale: int, size: int = 11) -> Tensor:
    """Return an oblique Gaussian centred between the pixels that a camera's pixel spans."""
    return render_gaussian(
        torch.tensor([[1.8 * scale, 0.7 * scale]]).double(),
        torch.tensor([0.5]).double(),
        size=size,
        center=kernel_center(size, scale, "camera"),
    )[0]


def image(scale: int, shape: tuple[int, int] = (30, 23), channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    fine = [scale * side for side in shape]
    return torch.rand(channels, *fine, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_what_is_predicted_is_what_residuals_are_taken_of(scale: int, border: Any) -> None:
    fine, blur = image(scale, channels=2), kernel(scale)
    found = predicted(fine, blur, scale, circular=border == "circular")
    expected = predict(fine.numpy(), blur.numpy(), scale=scale, geometry="camera", border=border)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("turn", ALL, ids=str)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_turned_kernel_acts_on_turned_images_alike(
    scale: int, turn: Orientation, *, circular: bool
) -> None:
    fine, blur = image(scale), kernel(scale)
    straight = predicted(fine, blur, scale, circular=circular)
    other = turned_kernel(blur, turn, scale)
    assert other.shape == (len(blur) + 2 * scale,) * 2
    assert float(other.sum()) == pytest.approx(float(blur.sum()))
    found = turn.undo(predicted(turn.apply(fine), other, scale, circular=circular))
    torch.testing.assert_close(found, straight, atol=1e-9, rtol=0)


def regions(residual: Tensor) -> Tensor:
    """Return the means of regions, counted from the first pixel; of all that there is, if less."""
    sides = [min(side, REGION) for side in residual.shape[-2:]]
    return torch.nn.functional.avg_pool2d(residual[:, None], sides, stride=sides)[:, 0]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("shape", [(16, 16), (48, 32), (50, 41), (7, 90)])
def test_the_means_of_regions_are_what_was_measured(scale: int, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    # Light that is missing changes slowly; noise is free.
    coarse = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)
    residual = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic")[:, 0]
    residual = 0.02 * residual
    more = mean_correction(residual, scale, noise=0.5, signal=0.05)
    assert more.shape == (2, scale * shape[0], scale * shape[1])
    # The surface is smooth: averaged over a pixel of the data, it is what is seen there.
    left = regions(residual - torch.nn.functional.avg_pool2d(more, scale))
    assert float(left.abs().max()) < 0.1 * float(residual.abs().max())
    torch.testing.assert_close(
        more.mean(dim=(1, 2)), residual.mean(dim=(1, 2)), atol=2e-3, rtol=0.1
    )


def test_it_is_linear_and_knows_no_direction() -> None:
    generator = torch.Generator().manual_seed(2)
    residual = torch.randn(1, 40, 52, generator=generator, dtype=torch.float64)
    options: dict[str, Any] = {"noise": 0.05, "signal": 0.3}
    found = mean_correction(residual, 2, **options)
    torch.testing.assert_close(mean_correction(3 * residual, 2, **options), 3 * found)
    for turn in ALL:
        turned = mean_correction(turn.apply(residual), 2, **options)
        torch.testing.assert_close(turn.undo(turned), found)


def test_noise_is_followed_no_further_than_photometry_asks() -> None:
    generator = torch.Generator().manual_seed(3)
    residual = 0.1 * torch.randn(1, 96, 96, generator=generator, dtype=torch.float64)
    strict = mean_correction(residual, 1, noise=0.1, signal=0.05)
    free = mean_correction(residual, 1, noise=0.1, signal=50.0)
    noise = float(residual.square().mean())
    # Means of regions have 1/256 of the power.
    assert float(free.square().mean()) <= float(strict.square().mean()) < 0.02 * noise


def test_what_was_not_measured_does_not_count() -> None:
    residual = torch.zeros(1, 48, 48, dtype=torch.float64)
    measured = torch.ones(48, 48, dtype=torch.bool)
    measured[10:20, 10:20] = False
    residual[:, ~measured] = 9.0
    more = mean_correction(residual, 2, noise=0.01, signal=0.3, measured=measured)
    assert not more.any()


def test_regions_of_a_part_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.randn(1, 1, 5, 5, generator=generator, dtype=torch.float64)
    whole = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic")[0]
    options: dict[str, Any] = {"noise": 0.5, "signal": 0.05}
    part = mean_correction(whole[:, 11:, 11:], 1, origin=(11, 11), **options)
    left = whole[:, 16:, 16:] - part[:, 5:, 5:]
    assert float(regions(left).abs().max()) < 0.1 * float(whole.abs().max())
