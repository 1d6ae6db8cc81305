"""The linear estimate of the data module against dense algebra."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.solvers.nonblind.data_step import FREE, DataModule, transfer_function


def random(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernels(*shape: int, seed: int) -> Tensor:
    drawn = random(*shape, seed=seed)
    return drawn / drawn.sum(dim=(-2, -1), keepdim=True)


def matrix_of(module: DataModule, height: int, width: int) -> Tensor:
    """Return the forward model as a matrix, one impulse a column."""
    impulses = torch.eye(height * width, dtype=torch.float64).reshape(-1, height, width)
    return module.predict(impulses).flatten(1).T


def differences(height: int, width: int) -> list[Tensor]:
    """Return the matrices of the differences to the next row and to the next column."""
    pixels = torch.arange(height * width).reshape(height, width)
    eye = torch.eye(height * width, dtype=torch.float64)
    return [eye[pixels.roll(-1, dim).flatten()] - eye for dim in (0, 1)]


def dense(
    data: Tensor,
    matrix: Tensor,
    shape: tuple[int, int],
    *,
    noise: float,
    contrast: float,
    gradients: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Solve ‖y − Ax‖²/σ² + (‖∇x − g‖² + ε‖x‖²)/c² for one plane."""
    steps = differences(*shape)
    prior = sum((step.T @ step for step in steps), FREE * torch.eye(len(steps[0])).double())
    right = matrix.T @ data.flatten() / noise
    if gradients is not None:
        for step, field in zip(steps, gradients, strict=True):
            right = right + step.T @ field.flatten() / contrast**2
    normal = matrix.T @ matrix / noise + prior / contrast**2
    solution: Tensor = torch.linalg.solve(normal, right).reshape(shape)
    return solution


sizes: dict[str, Any] = {
    "scale": st.integers(1, 4),
    "height": st.integers(1, 5),
    "width": st.integers(1, 5),
    "size": st.sampled_from([1, 3, 5, 9]),
    "seed": st.integers(0, 1000),
}


@settings(deadline=None, max_examples=40)
@given(**sizes, drawn=st.booleans(), noise=st.floats(1e-5, 1), contrast=st.floats(0.01, 1))
def test_the_linear_estimate_solves_its_quadratic_problem(
    *,
    scale: int,
    height: int,
    width: int,
    size: int,
    seed: int,
    drawn: bool,
    noise: float,
    contrast: float,
) -> None:
    shape = (scale * height, scale * width)
    data = random(1, height, width, seed=seed)
    fields = random(2, 1, *shape, seed=seed + 1) - 0.5
    gradients = (fields[0], fields[1]) if drawn else None
    module = DataModule(data, kernels(size, size, seed=seed + 2), scale)
    expected = dense(
        data,
        matrix_of(module, *shape),
        shape,
        noise=noise,
        contrast=contrast,
        gradients=gradients,
    )
    found = module.linear(noise, contrast=contrast, gradients=gradients)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(**sizes)
def test_each_image_of_a_batch_has_its_own_kernel_and_noise(
    *, scale: int, height: int, width: int, size: int, seed: int
) -> None:
    data = random(3, height, width, seed=seed)
    own = kernels(3, size, size, seed=seed + 1)
    noise = torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64)[:, None, None]
    image = random(3, scale * height, scale * width, seed=seed + 2)
    fields = (image - 0.5, 0.5 - image)
    together = DataModule(data, own, scale)
    linear, solved = together.linear(noise, gradients=fields), together(image, noise)
    predicted = together.predict(image)
    for i in range(3):
        alone = DataModule(data[i], own[i], scale)
        torch.testing.assert_close(predicted[i], alone.predict(image[i]))
        torch.testing.assert_close(solved[i], alone(image[i], noise[i, 0, 0]))
        apart = alone.linear(float(noise[i]), gradients=(fields[0][i], fields[1][i]))
        torch.testing.assert_close(linear[i], apart)
    spectrum = transfer_function(own, 6, 7)
    assert spectrum.shape == (3, 6, 4)
    torch.testing.assert_close(spectrum[1], transfer_function(own[1], 6, 7))


@settings(deadline=None, max_examples=20)
@given(**sizes)
def test_a_guess_stands_for_what_was_not_measured(
    *, scale: int, height: int, width: int, size: int, seed: int
) -> None:
    measured = random(height, width, seed=seed) < 0.6
    kernel = kernels(size, size, seed=seed + 1)
    guess = random(2, scale * height, scale * width, seed=seed + 2)
    data = random(2, height, width, seed=seed + 3)
    hidden = torch.where(measured, data, 1e3)
    found = DataModule(hidden, kernel, scale, measured=measured).linear(0.01, guess=guess)
    completed = torch.where(measured, data, DataModule(data, kernel, scale).predict(guess))
    torch.testing.assert_close(found, DataModule(completed, kernel, scale).linear(0.01))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("variance", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("side", [40, 160])
def test_single_precision_is_enough(scale: int, variance: float, side: int) -> None:
    # Spectra range over ten orders of magnitude, and the noise lies at their lower end.
    size = 8 * scale + 5
    kernel = render_gaussian(
        torch.tensor([[variance * scale**2, 0.6 * variance * scale**2]], dtype=torch.float64),
        torch.tensor([0.6], dtype=torch.float64),
        size=size,
        center=kernel_center(size, scale, "camera"),
    )[0]
    image = random(1, scale * side, scale * side, seed=0).cumsum(1).cumsum(2)
    image = 0.5 + 0.5 * torch.sin(image)
    frame = DataModule(torch.zeros(1, side, side, dtype=torch.float64), kernel, scale)
    data = (frame.predict(image) * 255).round() / 255
    noise = (0.3 / 255) ** 2
    exact = DataModule(data, kernel, scale).linear(noise)
    single = DataModule(data.float(), kernel.float(), scale).linear(noise)
    assert single.dtype == torch.float32
    assert float((single - exact).abs().max()) < 1e-4


def test_a_flat_image_stays_flat() -> None:
    module = DataModule(torch.full((1, 9, 7), 0.4), kernels(5, 5, seed=0).float(), 3)
    expected = torch.full((1, 27, 21), 0.4)
    torch.testing.assert_close(module.linear(1e-3), expected, rtol=0, atol=1e-4)
