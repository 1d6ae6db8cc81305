"""The blur estimated from the power spectrum, of random images whose spectrum is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_blindsr.estimation.spectrum import spectral_covariance
from napari_blindsr.physics.kernels.moments import covariance_of, log_covariance

LONG_COLUMNS = ((0.5, 0.0), (0.0, 1.5))
TURNED = ((0.8, 0.2), (0.2, 0.4))
ROUND = ((0.3, 0.0), (0.0, 0.3))


def matrix(rows: tuple[tuple[float, float], tuple[float, float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def blurred(
    covariance: Tensor, scale: int, *, side: int = 96, noise: float = 0.01, seed: int = 0
) -> Tensor:
    """Return a random image (1, h, w) with a 1/f² spectrum, blurred, sampled and noisy."""
    generator = torch.Generator().manual_seed(seed)
    size = side * scale
    white = torch.randn(size, size, generator=generator, dtype=torch.float64)
    y = torch.fft.fftfreq(size, dtype=torch.float64)[:, None]
    x = torch.fft.rfftfreq(size, dtype=torch.float64)[None]
    frequency = torch.hypot(y, x)
    frequency[0, 0] = 1
    wide = scale**2 * covariance
    quadratic = wide[0, 0] * y**2 + wide[1, 1] * x**2 + 2 * wide[0, 1] * y * x
    passed = torch.exp(-2 * math.pi**2 * quadratic) / frequency
    image = torch.fft.irfft2(torch.fft.rfft2(white) * passed, s=(size, size))
    image = image[::scale, ::scale] / image.std()
    noisy: Tensor = image + noise * torch.randn(image.shape, generator=generator).double()
    return noisy[None]


def error(found: Tensor, expected: Tensor) -> float:
    """Return the distance of logarithms: about the relative error of the variances."""
    return float((log_covariance(found) - log_covariance(expected)).norm())


@pytest.mark.parametrize("taper", [True, False])
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("rows", [LONG_COLUMNS, TURNED, ROUND])
def test_images_of_the_model_give_their_blur(
    rows: tuple[tuple[float, float], tuple[float, float]], scale: int, *, taper: bool
) -> None:
    expected = matrix(rows)
    found = spectral_covariance(blurred(expected, scale), scale, taper=taper)
    assert found.dtype == torch.float64
    assert error(found, expected) < 0.2


def test_noise_is_distinguished_from_sharpness() -> None:
    expected = matrix(((1.5, 0.0), (0.0, 1.0)))
    for noise in (0.003, 0.1):
        found = spectral_covariance(blurred(expected, 2, noise=noise), 2)
        assert error(found, expected) < 0.3


def test_channels_are_read_together() -> None:
    expected = matrix(TURNED)
    planes = torch.cat([blurred(expected, 2, side=48, seed=seed) for seed in range(4)])
    alone = [error(spectral_covariance(plane[None], 2), expected) for plane in planes]
    together = error(spectral_covariance(planes, 2), expected)
    assert together < sum(alone) / len(alone)


def test_turns_flips_and_units_of_an_image() -> None:
    image = blurred(matrix(TURNED), 2, side=64)
    found = spectral_covariance(image, 2)
    mirror = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    # Frequencies at the limit of the grid are seen along one axis only.
    options: dict[str, Any] = {"rtol": 0.03, "atol": 0.01}
    torch.testing.assert_close(spectral_covariance(image.mT, 2), found.flip(0, 1), **options)
    torch.testing.assert_close(spectral_covariance(image.flip(1), 2), mirror * found, **options)
    torch.testing.assert_close(spectral_covariance(300 * image + 7, 2), found, rtol=1e-3, atol=1e-4)


def test_single_precision_is_taken() -> None:
    image = blurred(matrix(ROUND), 2, side=48)
    torch.testing.assert_close(
        spectral_covariance(image.float(), 2), spectral_covariance(image, 2), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("scale", [1, 3, 8])
@pytest.mark.parametrize(
    "image",
    [torch.zeros(2, 16, 16), torch.full((1, 20, 31), 0.3), torch.rand(3, 17, 40)],
    ids=["zero", "constant", "noise"],
)
def test_images_without_a_blur_give_a_covariance_all_the_same(image: Tensor, scale: int) -> None:
    found = spectral_covariance(image, scale)
    assert found.shape == (2, 2)
    assert torch.isfinite(found).all()
    assert float(torch.linalg.eigvalsh(found).min()) > 0
    torch.testing.assert_close(covariance_of(log_covariance(found)), found)
