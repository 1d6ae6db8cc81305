"""The unit that micrographs are restored in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.solvers.nonblind.restorers import FAINT, peak_unit


def gaussian(first: float, second: float, *, angle: float = 0.3, size: int = 41) -> Tensor:
    """Return a Gaussian with such standard deviations."""
    variances = torch.tensor([[first**2, second**2]]).double()
    return render_gaussian(
        variances, torch.tensor([angle]).double(), size=size, center=size // 2
    ).float()[0]


@pytest.mark.parametrize("sigma", [1.5, 2.0, 4.0])
def test_it_falls_like_the_width_of_the_blur(sigma: float) -> None:
    assert float(peak_unit(gaussian(sigma, sigma))) == pytest.approx(FAINT / sigma, rel=0.02)


def test_widths_along_both_axes_count_alike() -> None:
    found = float(peak_unit(gaussian(4.0, 2.0)))
    assert found == pytest.approx(FAINT / math.sqrt(8), rel=0.02)
    assert float(peak_unit(gaussian(4.0, 2.0, angle=1.2))) == pytest.approx(found, rel=0.01)


def test_without_blur_peaks_are_as_bright_as_the_image() -> None:
    point = torch.zeros(9, 9)
    point[4, 4] = 1
    assert float(peak_unit(point)) == pytest.approx(1)


def test_several_kernels_have_a_unit_each() -> None:
    kernels = torch.stack([gaussian(2.0, 2.0), gaussian(3.0, 2.5)])
    found = peak_unit(kernels)
    assert found.shape == (2,)
    torch.testing.assert_close(found[1], peak_unit(kernels[1]))
