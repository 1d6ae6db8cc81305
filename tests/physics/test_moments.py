"""How wide kernels are, against Gaussians whose covariance is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_blindsr.physics.kernels import Airy, render_gaussian
from napari_blindsr.physics.kernels.moments import (
    NARROWEST,
    core_covariance,
    covariance_of,
    log_covariance,
    principal_axes,
)

# Narrower ones are sampled too coarsely to have the covariance that they were drawn with.
variances = st.floats(1, 12)
no_deadline = settings(deadline=None)
angles = st.floats(0, math.pi)


def covariance(first: float, second: float, angle: float) -> Tensor:
    """Return R·diag·Rᵀ, rows before columns."""
    axes = torch.tensor(
        [[math.sin(angle), math.cos(angle)], [math.cos(angle), -math.sin(angle)]],
        dtype=torch.float64,
    )
    return axes.T @ torch.diag(torch.tensor([first, second], dtype=torch.float64)) @ axes


def gaussian(first: float, second: float, angle: float, *, center: float = 20.0) -> Tensor:
    both = torch.tensor([[first, second]], dtype=torch.float64)
    turn = torch.tensor([angle], dtype=torch.float64)
    return render_gaussian(both, turn, size=41, center=center)


@no_deadline
@given(first=variances, second=variances, angle=angles, center=st.floats(19, 21))
def test_a_gaussian_has_its_own_covariance(
    first: float, second: float, angle: float, center: float
) -> None:
    found = core_covariance(gaussian(first, second, angle, center=center))[0]
    expected = covariance(first, second, angle)
    assert float((found - expected).norm() / expected.norm()) < 0.01


@no_deadline
@given(first=variances, second=variances, angle=angles)
def test_turns_and_flips_turn_and_flip_the_covariance(
    first: float, second: float, angle: float
) -> None:
    kernel = gaussian(first, second, angle)
    found = core_covariance(kernel)[0]
    turned = core_covariance(kernel.rot90(1, (1, 2)))[0]
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(turned, quarter @ found @ quarter.T)
    for dim in (1, 2):
        flipped = core_covariance(kernel.flip(dim))[0]
        mirror = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(flipped, mirror * found)
    torch.testing.assert_close(core_covariance(kernel.mT)[0], found.flip(0, 1))


def test_no_kernel_is_narrower_than_a_pixel() -> None:
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    torch.testing.assert_close(core_covariance(point)[0], NARROWEST * torch.eye(2))
    # A line is as wide as a pixel across, and keeps its length.
    line = core_covariance(gaussian(6, 1e-3, 0))[0]
    expected = torch.tensor([[NARROWEST, 0.0], [0.0, 6.0]], dtype=torch.float64)
    torch.testing.assert_close(line, expected)


def test_many_kernels_are_measured_one_by_one() -> None:
    kernels = torch.cat([gaussian(1, 4, 0.3), gaussian(2, 2, 0), gaussian(9, 1, 2)])
    together = core_covariance(kernels)
    assert together.shape == (3, 2, 2)
    for kernel, found in zip(kernels, together, strict=True):
        torch.testing.assert_close(core_covariance(kernel[None])[0], found)


def test_the_core_of_an_airy_pattern_does_not_depend_on_where_it_is_cut() -> None:
    airy = Airy(numerical_aperture=0.6, wavelength=520.0, pixel_size=100.0, defocus=(0.0, 0.0))
    found = []
    for size in (31, 61):
        kernel = airy.sample(
            1, scale=1, size=size, center=size // 2, generator=torch.Generator().manual_seed(0)
        )
        found.append(core_covariance(kernel.double())[0])
    torch.testing.assert_close(found[0], found[1], rtol=0.01, atol=0.01)
    # The published core of an Airy pattern: σ = 0.21 λ/NA.
    width = float(found[1].diagonal().mean().sqrt())
    assert width == pytest.approx(0.21 * 520 / 0.6 / 100, rel=0.1)


@no_deadline
@given(first=variances, second=variances, angle=angles)
def test_the_logarithm_can_be_undone(first: float, second: float, angle: float) -> None:
    matrix = covariance(first, second, angle)
    torch.testing.assert_close(covariance_of(log_covariance(matrix)), matrix)


@no_deadline
@given(
    a=st.tuples(variances, variances, angles),
    b=st.tuples(variances, variances, angles),
)
def test_distances_of_logarithms_are_those_of_matrices(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> None:
    def logarithm(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        result: Tensor = vectors @ values.log().diag() @ vectors.T
        return result

    first, second = covariance(*a), covariance(*b)
    ours = (log_covariance(first) - log_covariance(second)).norm()
    torch.testing.assert_close(ours, (logarithm(first) - logarithm(second)).norm())


def test_round_covariances_have_gradients() -> None:
    found = torch.tensor([0.3, 0.3, 0.0], requires_grad=True)
    covariance_of(found).sum().backward()
    assert found.grad is not None
    assert torch.isfinite(found.grad).all()


@no_deadline
@example(first=1.0, ratio=3.0, angle=math.pi)
@given(first=variances, ratio=st.floats(1.05, 20), angle=angles)
def test_principal_axes_render_the_same_gaussian(first: float, ratio: float, angle: float) -> None:
    matrix = covariance(first * ratio, first, angle)
    found, turn = principal_axes(matrix)
    torch.testing.assert_close(found, torch.tensor([first * ratio, first], dtype=torch.float64))
    assert 0 <= float(turn) < math.pi
    ours = render_gaussian(found[None], turn[None], size=21, center=10.0)
    theirs = render_gaussian(
        torch.tensor([[first * ratio, first]], dtype=torch.float64),
        torch.tensor([angle], dtype=torch.float64),
        size=21,
        center=10.0,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_principal_axes_take_batches() -> None:
    matrices = torch.stack([covariance(3, 1, 0.2), covariance(5, 2, 2.0)]).reshape(2, 1, 2, 2)
    found, turn = principal_axes(matrices)
    assert found.shape == (2, 1, 2)
    torch.testing.assert_close(turn, torch.tensor([[0.2], [2.0]], dtype=torch.float64))
