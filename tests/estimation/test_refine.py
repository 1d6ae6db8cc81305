"""Refining a posterior by how well the restored image explains the data."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext

import pytest
import torch
from skimage import data
from torch import Tensor

from napari_blindsr.estimation.network import FAMILY_ORDER
from napari_blindsr.estimation.posterior import BlurPosterior
from napari_blindsr.estimation.refine import gaussian_candidates, refine
from napari_blindsr.physics.kernels import Line, render_gaussian
from napari_blindsr.physics.kernels.moments import core_covariance, log_covariance
from napari_blindsr.progress import Done
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior

SCALE = 2


def blurred(kernel: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the LR plane of a picture that was not trained on, and the logarithm of its blur."""
    sharp = torch.from_numpy(data.camera()[80:176, 150:246] / 255).float()
    if kernel is None:
        kernel = render_gaussian(
            torch.tensor([[2.0, 1.2]]).double(), torch.tensor([0.5]).double(), size=17, center=8
        )[0]
    plane = DataModule(sharp[::SCALE, ::SCALE], kernel.float(), SCALE).predict(sharp)
    return plane, log_of(kernel)


def log_of(kernel: Tensor) -> Tensor:
    return log_covariance(core_covariance(kernel[None].double()) / SCALE**2)[0].float()


def ended(steps: Generator[Done, bool | None, BlurPosterior | None]) -> BlurPosterior:
    """Take all steps; they are counted."""
    last, reports = 0, []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as end:
            found: BlurPosterior = end.value
            break
        assert reports[-1][0] > last
        last = reports[-1][0]
    assert {total for _, total in reports} == {last}
    return found


def refined(plane: Tensor, mean: Tensor, deviation: float) -> BlurPosterior:
    families = torch.full((len(FAMILY_ORDER),), 1 / len(FAMILY_ORDER))
    posterior = BlurPosterior(mean=mean, deviation=torch.full((3,), deviation), families=families)
    candidates = gaussian_candidates(posterior, scale=SCALE, center_offset=0.0, seed=0)
    steps = refine(
        plane,
        posterior,
        load_image_prior(),
        candidates=candidates,
        weights=torch.full((len(candidates),), 1 / len(candidates)),
        scale=SCALE,
        periodic=True,
        noise=0.0,
        autocast=nullcontext(),
    )
    return ended(steps)


@pytest.mark.parametrize("error", [0.6, -0.6])
def test_an_estimate_that_is_far_off_comes_nearer(error: float) -> None:
    plane, truth = blurred()
    wrong = torch.tensor([error, error, 0.0])
    found = refined(plane, truth + wrong, 0.5)
    assert float((found.mean - truth)[:2].abs().mean()) < 0.6 * abs(error)
    assert bool((found.deviation <= 0.5).all())
    assert float(found.deviation[:2].mean()) < 0.45


def lines(count: int) -> Tensor:
    """Return kernels of straight motion."""
    size = Line().size(SCALE)
    return Line().sample(
        count,
        scale=SCALE,
        size=size,
        center=size // 2,
        generator=torch.Generator().manual_seed(4),
    )


def drawn(
    plane: Tensor,
    weights: Tensor,
    *,
    candidates: Tensor,
    deviation: float,
    noise: float = 0.0,
) -> BlurPosterior:
    families = torch.full((len(FAMILY_ORDER),), 1 / len(FAMILY_ORDER))
    logs = torch.stack([log_of(kernel) for kernel in candidates])
    posterior = BlurPosterior(
        mean=(weights[:, None] * logs).sum(dim=0),
        deviation=torch.full((3,), deviation),
        families=families,
    )
    steps = refine(
        plane,
        posterior,
        load_image_prior(),
        candidates=candidates,
        weights=weights,
        scale=SCALE,
        periodic=True,
        noise=noise,
        autocast=nullcontext(),
    )
    return ended(steps)


def test_among_kernels_of_equal_weight_the_true_one_wins() -> None:
    candidates = lines(16)
    plane, truth = blurred(candidates[3])
    even = torch.full((16,), 1 / 16)
    found = drawn(plane, even, candidates=candidates, deviation=1.0)
    before = (even[:, None] * torch.stack([log_of(kernel) for kernel in candidates])).sum(dim=0)
    assert float((found.mean - truth).norm()) < 0.4 * float((before - truth).norm())
    assert bool((found.deviation <= 1.0).all())
    assert float(found.deviation.max()) < 0.9


def test_a_kernel_without_weight_is_not_drawn() -> None:
    candidates = lines(4)
    plane, _ = blurred(candidates[0])
    sure = torch.tensor([0.0, 1.0, 0.0, 0.0])
    found = drawn(plane, sure, candidates=candidates, deviation=0.2)
    # One kernel alone is no evidence.
    torch.testing.assert_close(found.mean, log_of(candidates[1]))
    torch.testing.assert_close(found.deviation, torch.full((3,), 0.2))


def test_where_all_kernels_explain_the_data_alike_nothing_changes() -> None:
    # In noise alone no kernel leaves a trace.
    candidates = lines(16)
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    even = torch.full((16,), 1 / 16)
    found = drawn(0.5 + 0.05 * noise, even, candidates=candidates, deviation=0.3, noise=0.05)
    before = (even[:, None] * torch.stack([log_of(kernel) for kernel in candidates])).sum(dim=0)
    torch.testing.assert_close(found.mean, before, atol=0.02, rtol=0)
    torch.testing.assert_close(found.deviation, torch.full((3,), 0.3), atol=0.02, rtol=0)


def test_a_certain_estimate_stays() -> None:
    plane, truth = blurred()
    posterior = truth + torch.tensor([0.3, 0.3, 0.0])
    found = refined(plane, posterior, 0.01)
    assert float((found.mean - posterior).abs().max()) < 0.05
