from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from napari_blindsr.solvers.blind.losses import (
    StructuralSimilarity,
    gradient_prior,
    monte_carlo_weights,
)
from tests.helpers import golden, tensor


def test_ssim_is_the_reference_one() -> None:
    a, b = tensor(golden("ssim_a"))[0], tensor(golden("ssim_b"))[0]
    expected = golden("ssim_value").item()
    assert StructuralSimilarity(a)(b).item() == pytest.approx(expected, abs=2e-6)
    assert StructuralSimilarity(b)(a).item() == pytest.approx(expected, abs=2e-6)


def test_ssim_agrees_with_scikit_image_inside() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 60, 60))
    # What lies within 5 pixels of a border depends on how it is padded.
    _, theirs = structural_similarity(
        a,
        b,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    padded_a, padded_b = (np.pad(x, 5) for x in (a, b))
    _, zero_padded = structural_similarity(
        padded_a,
        padded_b,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(zero_padded[10:-10, 10:-10], theirs[5:-5, 5:-5], atol=1e-12)
    ours = StructuralSimilarity(torch.from_numpy(a)[None])(torch.from_numpy(b)[None])
    assert ours.item() == pytest.approx(zero_padded[5:-5, 5:-5].mean(), abs=1e-9)


def test_ssim_of_an_image_with_itself_is_one() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert StructuralSimilarity(image)(image).item() == pytest.approx(1, abs=1e-5)


def images_with_holes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return two images, 0 where covered, and where they were measured."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 30, 26, generator=generator, dtype=torch.float64)
    image = (target + 0.2 * torch.rand(target.shape, generator=generator)).clamp(0, 1)
    measured = torch.rand(30, 26, generator=generator) < 0.8
    # A hole that is larger than the window, and one at the border.
    measured[8:24, 4:20], measured[:3, 20:] = False, False
    return target * measured, image * measured, measured


def test_ssim_of_what_was_measured_is_the_plain_one_if_all_was() -> None:
    target, image, _ = images_with_holes()
    everywhere = torch.ones(target.shape[1:], dtype=torch.bool)
    plain = StructuralSimilarity(target)(image)
    torch.testing.assert_close(StructuralSimilarity(target, everywhere)(image), plain)


def test_ssim_of_what_was_measured_is_one_for_the_same_image() -> None:
    target, image, measured = images_with_holes()
    assert StructuralSimilarity(target, measured)(target).item() == pytest.approx(1, abs=1e-9)
    assert StructuralSimilarity(target, measured)(image).item() < 0.98


def test_ssim_of_constants_does_not_see_the_borders_of_holes() -> None:
    # Zeros in the holes are no structure: each pixel scores as if there were none.
    measured = torch.ones(30, 26, dtype=torch.bool)
    measured[8:22, 6:19] = False
    dark, bright = (torch.full((1, 30, 26), v, dtype=torch.float64) for v in (0.4, 0.8))
    whole = StructuralSimilarity(dark)(bright).item()
    in_hole = (2 * 0.4 * 0.8 + 1e-4) / (0.4**2 + 0.8**2 + 1e-4)
    share = measured.double().mean().item()
    expected = (whole - (1 - share) * in_hole) / share
    found = StructuralSimilarity(dark * measured, measured)(bright * measured).item()
    assert found == pytest.approx(expected, abs=1e-6)
    assert abs(StructuralSimilarity(dark * measured)(bright * measured).item() - expected) > 0.01


def test_ssim_of_what_was_measured_has_no_gradient_where_nothing_was() -> None:
    target, image, measured = images_with_holes()
    free = image.clone().requires_grad_()
    StructuralSimilarity(target, measured)(free * measured).backward()
    assert free.grad is not None
    assert torch.isfinite(free.grad).all()
    assert not free.grad[:, ~measured].any()
    assert bool(free.grad[:, measured].all())


def test_gradient_prior_is_the_reference_one() -> None:
    image = tensor(golden("degrade_hr")).movedim(-1, 0)
    expected = golden("gradprior_sum").item()
    assert gradient_prior(image).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_prior_by_hand() -> None:
    # One bright pixel in the middle: each of the four differences sees it twice.
    image = torch.zeros(1, 5, 5, dtype=torch.float64)
    image[0, 2, 2] = 1
    assert gradient_prior(image, epsilon=0.0).item() == pytest.approx(8)


def test_gradient_prior_has_finite_gradients_on_flat_images() -> None:
    image = torch.full((1, 6, 6), 0.3, requires_grad=True)
    gradient_prior(image).backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_monte_carlo_weights_are_the_reference_ones() -> None:
    ours = monte_carlo_weights(tensor(golden("mc_data_losses")))
    torch.testing.assert_close(ours, tensor(golden("mc_weights")), rtol=1e-5, atol=1e-6)


def test_the_best_kernel_weighs_most() -> None:
    weights = monte_carlo_weights(torch.tensor([0.3, 0.1, 0.2]))
    assert weights.argsort(descending=True).tolist() == [1, 2, 0]
