"""Captured graphs: used where they do the same, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_blindsr.solvers import cuda_graphs
from napari_blindsr.solvers.blind.generators import ImageGenerator, build_image_generator
from napari_blindsr.solvers.cuda_graphs import captured, same
from napari_blindsr.solvers.device import choose_compute
from tests.helpers import FLOAT32

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def tensors(*values: float) -> list[Tensor]:
    return [torch.full((3,), value) for value in values]


def test_tensors_agree_up_to_a_relative_difference() -> None:
    assert same(tensors(1, 2, 3), tensors(1, 2, 3), 0.0)
    assert same(tensors(1.01, 2, 3), tensors(1, 2, 3), 0.02)
    assert not same(tensors(1.03, 2, 3), tensors(1, 2, 3), 0.02)
    # Gradients count apart from the output, which may be much larger.
    assert not same(tensors(1000, 0.02), tensors(1000, 0.01), 0.02)


@pytest.mark.parametrize(
    "other",
    [tensors(1, 2), [*tensors(1, 2), torch.zeros(4)], tensors(1, 2, torch.nan)],
    ids=["missing", "shape", "not finite"],
)
def test_other_tensors_do_not_agree(other: list[Tensor]) -> None:
    assert not same(other, tensors(1, 2, 3), 1.0)
    assert not same(tensors(1, 2, 3), other, 1.0)


def test_nothing_is_captured_without_cuda() -> None:
    network = nn.Conv2d(1, 1, 3)
    assert captured(network, torch.rand(1, 1, 8, 8), FLOAT32) is None


def _brighten(network: ImageGenerator) -> None:
    assert network.head.bias is not None
    with torch.no_grad():
        network.head.bias.add_(1)


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_generator_follows_its_weights(precision: str) -> None:
    compute = choose_compute("cuda", precision)
    network = build_image_generator(
        1, width=16, bounded=True, generator=torch.Generator().manual_seed(0)
    ).to(compute.device)
    noise = torch.rand(1, 1, 40, 48, device=compute.device)
    evaluate = captured(network, noise, compute)
    assert evaluate is not None
    _brighten(network)
    first, (plain, *_) = evaluate(noise).clone(), cuda_graphs._evaluate(network, network, noise)
    assert same([first], [plain], 5e-2)
    # What was returned is not written over by the next evaluation.
    kept = evaluate(noise)
    _brighten(network)
    evaluate(noise)
    torch.testing.assert_close(kept, first)


@needs_cuda
def test_what_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = choose_compute("cuda", "float32")
    network = nn.Conv2d(1, 1, 3).to(compute.device)
    monkeypatch.setitem(cuda_graphs.TOLERANCE, torch.float32, -1.0)
    assert captured(network, torch.rand(1, 1, 8, 8, device=compute.device), compute) is None
