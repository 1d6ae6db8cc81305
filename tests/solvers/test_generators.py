from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_blindsr.solvers.blind.generators import (
    SMALLEST_SIDE,
    ImageGenerator,
    KernelGenerator,
    _NonLocal,
    build_image_generator,
    build_kernel_generator,
)
from tests.helpers import golden


def parameters(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def small(channels: int = 1, *, bounded: bool = True) -> ImageGenerator:
    return build_image_generator(
        channels, width=8, bounded=bounded, generator=torch.Generator().manual_seed(0)
    )


def test_sizes_are_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    image = build_image_generator(3, width=128, bounded=True, generator=generator)
    assert parameters(image) == 2_359_939 == golden("image_generator_params").item()
    kernel = build_kernel_generator(19, generator=generator)
    assert parameters(kernel) == 562_361 == golden("kernel_generator_params_x4").item()


@given(
    channels=st.integers(1, 5),
    height=st.integers(SMALLEST_SIDE, 71),
    width=st.integers(SMALLEST_SIDE, 71),
)
@settings(deadline=None, max_examples=15)
def test_the_image_has_the_size_of_the_noise(channels: int, height: int, width: int) -> None:
    noise = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    image = small(channels)(noise)
    assert image.shape == noise.shape
    assert image.dtype == torch.float32
    assert 0 < image.min() < image.max() < 1


def test_smaller_images_do_not_fit() -> None:
    side = SMALLEST_SIDE - 1
    with pytest.raises(ValueError, match=r".+"):
        small()(torch.rand(1, 1, side, side))


def test_unbounded_output_is_the_sigmoid_below_a_half_and_its_tangent_above() -> None:
    noise = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    bounded, unbounded = small(), small(bounded=False)
    for network in (bounded, unbounded):
        with torch.no_grad():
            network.head.weight *= 6
    with torch.no_grad():
        a, b = bounded(noise), unbounded(noise)
    torch.testing.assert_close(b[a < 0.5], a[a < 0.5])
    torch.testing.assert_close(
        b[a > 0.5], 0.5 + 0.25 * torch.logit(a[a > 0.5]), rtol=1e-3, atol=1e-3
    )
    assert b.max() > 1 > a.max()


def test_non_local_block_is_its_definition() -> None:
    # In double precision: whatever the weights, only rounding tells the two apart.
    block = _NonLocal(8).double()
    torch.nn.init.normal_(block.norm.weight, generator=torch.Generator().manual_seed(0))
    x = torch.rand(1, 8, 10, 12, generator=torch.Generator().manual_seed(1)).double()
    theta = block.theta(x)[0].flatten(1).T
    pool = torch.nn.functional.max_pool2d
    phi, g = (pool(part(x), 2)[0].flatten(1) for part in (block.phi, block.g))
    # y_i = 1/N Σ_j (θ_i · φ_j) g_j, pixel by pixel.
    y = (theta @ phi / phi.shape[1]) @ g.T
    expected = x + block.norm(block.out(y.T.reshape(1, -1, 10, 12)))
    torch.testing.assert_close(block(x), expected)


def test_non_local_blocks_start_as_the_identity() -> None:
    blocks = [part for part in small().modules() if isinstance(part, _NonLocal)]
    assert len(blocks) == 3
    x = torch.rand(1, 8, 6, 6)
    for block in blocks:
        torch.testing.assert_close(block(x), x)


def test_the_layout_in_memory_changes_neither_image_nor_gradient() -> None:
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = small(3).double()
        # torch's annotations leave this overload out.
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
        noise = torch.rand(1, 3, 40, 44, generator=torch.Generator().manual_seed(1)).double()
        image = network(noise.contiguous(memory_format=layout))
        image.square().mean().backward()
        results.append([image, *(weights.grad for weights in network.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_a_kernel_is_non_negative_and_sums_to_one() -> None:
    network = build_kernel_generator(11, generator=torch.Generator().manual_seed(0))
    kernel = network(torch.rand(KernelGenerator.INPUTS))
    assert kernel.shape == (11, 11)
    assert kernel.min() >= 0
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)


@given(size=st.integers(3, 59), width=st.floats(0.02, 0.3), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=15)
def test_a_kernel_begins_at_the_given_one(size: int, width: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(size) - size // 2).square()
    profile = torch.softmax(-axis / (2 * (width * size) ** 2 + 0.1), dim=0)
    kernel = profile[:, None] * profile
    network = build_kernel_generator(size, generator=generator)
    network.begin_at(kernel)
    found = network(torch.rand(KernelGenerator.INPUTS, generator=generator) / 10)
    assert (found - kernel).norm() < 0.1 * kernel.norm()


def test_weights_follow_the_generator_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, second = small(), small()
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_have_pytorchs_default_distribution() -> None:
    ours = build_kernel_generator(19, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.Linear(200, 1000)
    assert ours.hidden.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.02)
    assert ours.hidden.bias.abs().max().item() <= 200**-0.5
