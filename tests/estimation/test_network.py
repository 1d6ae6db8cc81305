"""The kernel estimator: what holds whatever its weights are."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_blindsr.estimation.network import (
    FAMILY_ORDER,
    OUTLOOK,
    SHARPEST_TILE,
    TILES,
    WHOLE,
    KernelEstimator,
    blur_posterior,
    features,
)
from napari_blindsr.estimation.posterior import (
    CALIBRATIONS,
    CARE,
    OPTICS_CARE,
    OPTICS_PRIOR,
    SOFT,
    UNCERTAIN,
    VISIBLE_NOISE,
    BlurPosterior,
    calibrated,
    informed,
)
from napari_blindsr.physics.kernels import FAMILIES
from napari_blindsr.physics.noise import STATISTICS
from napari_blindsr.solvers.nonblind.conditions import (
    NOISE_RANGE,
    UNEXPLAINED_RANGE,
    Decision,
)


def estimator(widths: tuple[int, int, int] = (8, 8, 8)) -> KernelEstimator:
    """Return a network of random weights whose votes are far from equal."""
    torch.manual_seed(0)
    network = KernelEstimator(widths).requires_grad_(False).eval()
    network.vote.weight.mul_(8)
    # A new network decides the same whatever it sees.
    torch.nn.init.normal_(network.decision[-1].weight, std=0.3)  # type: ignore[arg-type]
    return network


def picture(channels: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, height, width, generator=generator).cumsum(2).cumsum(1).sin()


def same(first: BlurPosterior, second: BlurPosterior) -> None:
    for name in ("mean", "deviation", "families"):
        ours, theirs = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    ours, theirs = decided(first), decided(second)
    torch.testing.assert_close(ours.shift, theirs.shift, rtol=1e-3, atol=1e-4)
    assert ours.noise == pytest.approx(theirs.noise, rel=1e-3)
    assert ours.unexplained == pytest.approx(theirs.unexplained, rel=1e-3)


def decided(posterior: BlurPosterior) -> Decision:
    assert posterior.decision is not None
    return posterior.decision


def test_every_family_it_votes_for_exists() -> None:
    assert set(FAMILY_ORDER) <= {family.name for family in FAMILIES}


@settings(deadline=None, max_examples=30)
@given(
    gain=st.floats(1e-3, 1e5),
    offset=st.floats(-10, 10),
    height=st.integers(2, 20),
    width=st.integers(2, 20),
    seed=st.integers(0, 100),
)
def test_features_know_no_unit(
    gain: float, offset: float, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    planes = torch.rand(2, height, width, generator=generator, dtype=torch.float64)
    found = features(planes, 2)
    assert found.shape == (2, KernelEstimator.INPUTS, height, width)
    torch.testing.assert_close(features(gain * (planes + offset), 2), found)


def test_features_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    planes = torch.rand(1, 5, 7, generator=generator, dtype=torch.float64)
    values, rows, columns, scale, known, optics = features(planes, 4)[0]
    assert float(values.mean()) == pytest.approx(0, abs=1e-12)
    assert float(values.square().mean()) == pytest.approx(1)
    assert float((rows.square() + columns.square()).mean()) == pytest.approx(2)
    # Differences to the next pixel; beyond the last one there is the same again.
    assert torch.equal(rows[-1], torch.zeros(7, dtype=torch.float64))
    assert torch.equal(columns[:, -1], torch.zeros(5, dtype=torch.float64))
    ratio = rows[:-1] / planes[0].diff(dim=0)
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0, 0])))
    torch.testing.assert_close(columns[:, :-1], float(ratio[0, 0]) * planes[0].diff(dim=1))
    torch.testing.assert_close(scale, torch.full_like(scale, math.log2(4) / 3))
    # Nothing is known of the optics.
    assert not known.any()
    assert not optics.any()


def test_optics_are_inputs_where_they_are_known() -> None:
    planes = picture(2, 5, 7).double()
    given = features(planes, 2, torch.tensor([math.log(2.25), math.nan], dtype=torch.float64))
    torch.testing.assert_close(given[:, :4], features(planes, 2)[:, :4])
    # The logarithm of the standard deviation.
    assert given[0, 4].unique().tolist() == [1]
    torch.testing.assert_close(given[0, 5], torch.full_like(given[0, 5], math.log(1.5)))
    assert not given[1, 4:].any()


@pytest.mark.parametrize("shape", [(16, 16), (17, 23), (31, 16), (1, 40)])
@pytest.mark.parametrize("scale", [1, 3, 8])
def test_votes_have_their_shapes(shape: tuple[int, int], scale: int) -> None:
    votes = estimator()(picture(3, *shape), scale)
    assert votes.mean.shape == votes.log_variance.shape == (3, 3)
    assert votes.families.shape == (3, len(FAMILY_ORDER))
    assert votes.outlook.shape == (3, OUTLOOK)
    for values in (votes.mean, votes.log_variance, votes.families, votes.outlook):
        assert torch.isfinite(values).all()


def test_images_of_a_batch_are_read_one_by_one() -> None:
    network, planes = estimator(), picture(3, 21, 18)
    together = network(planes, 2)
    for index, plane in enumerate(planes):
        alone = network(plane[None], 2)
        torch.testing.assert_close(alone.mean[0], together.mean[index])
        torch.testing.assert_close(alone.log_variance[0], together.log_variance[index])
        torch.testing.assert_close(alone.outlook[0], together.outlook[index])


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_a_constant_image_gives_finite_votes(value: float) -> None:
    posterior = blur_posterior(torch.full((2, 20, 33), value), 4, estimator())
    for values in (posterior.mean, posterior.deviation, posterior.families):
        assert torch.isfinite(values).all()
    assert float(posterior.families.sum()) == pytest.approx(1, abs=1e-5)
    assert float(posterior.deviation.min()) > 0


def turned(posterior: BlurPosterior, *, transposed: bool, flipped: bool) -> BlurPosterior:
    """Return the expected estimate of the image transposed, or flipped along one axis."""
    order = [1, 0, 2] if transposed else [0, 1, 2]
    sign = torch.tensor([1.0, 1.0, -1.0 if flipped else 1.0])
    decision = decided(posterior)
    return BlurPosterior(
        mean=(posterior.mean * sign)[order],
        deviation=posterior.deviation[order],
        families=posterior.families,
        decision=replace(decision, shift=(decision.shift * sign)[order]),
    )


@pytest.mark.parametrize("shape", [(24, 24), (19, 30), (256, 256)])
def test_an_estimate_turns_and_flips_with_the_image(shape: tuple[int, int]) -> None:
    network, planes = estimator(), picture(1, *shape)
    posterior = blur_posterior(planes, 2, network)
    # A mixed element that is not 0 is what a flip changes.
    assert abs(float(posterior.mean[2])) > 1e-3
    assert abs(float(posterior.mean[0] - posterior.mean[1])) > 1e-3
    flipped = turned(posterior, transposed=False, flipped=True)
    same(blur_posterior(planes.flip(1), 2, network), flipped)
    same(blur_posterior(planes.flip(2), 2, network), flipped)
    same(blur_posterior(planes.flip(1, 2), 2, network), posterior)
    transposed = turned(posterior, transposed=True, flipped=False)
    same(blur_posterior(planes.mT, 2, network), transposed)
    quarter = turned(posterior, transposed=True, flipped=True)
    same(blur_posterior(planes.rot90(1, (1, 2)), 2, network), quarter)


def test_an_estimate_does_not_depend_on_the_unit() -> None:
    network, planes = estimator(), picture(3, 24, 20)
    same(blur_posterior(40 * planes + 7, 2, network), blur_posterior(planes, 2, network))


def test_equal_channels_are_read_like_one() -> None:
    network, plane = estimator(), picture(1, 24, 20)
    same(blur_posterior(plane.repeat(7, 1, 1), 2, network), blur_posterior(plane, 2, network))


def test_the_calibration_widens_and_no_more() -> None:
    network, planes = estimator(), picture(1, 24, 20)
    plain, wide = (blur_posterior(planes, 2, network, calibration=c) for c in (1.0, 1.7))
    torch.testing.assert_close(wide.deviation, 1.7 * plain.deviation)
    torch.testing.assert_close(wide.mean, plain.mean)


def seen(planes: Tensor, network: KernelEstimator) -> tuple[BlurPosterior, list[tuple[int, ...]]]:
    """Return a posterior, and the shapes of the inputs of the network."""
    shapes: list[tuple[int, ...]] = []
    hook = network.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape))
    posterior = blur_posterior(planes, 2, network)
    hook.remove()
    return posterior, shapes


@pytest.mark.parametrize("shape", [(700, 800), (60, 5000)])
def test_a_few_windows_of_a_large_image_are_evaluated(shape: tuple[int, int]) -> None:
    _, shapes = seen(picture(1, *shape), estimator())
    # The whole of each in four orientations, its four corners in the others.
    assert len(shapes) == 8 * TILES
    assert max(height * width for _, height, width in shapes) <= SHARPEST_TILE**2


@pytest.mark.parametrize("dim", [1, 2])
def test_the_windows_with_most_detail_are_evaluated(dim: int) -> None:
    network, side = estimator(), SHARPEST_TILE
    # Stripes: all detail is along one axis.
    stripes = picture(1, side, 1) if dim == 1 else picture(1, 1, side)
    tile = stripes.expand(1, side, side)
    large = torch.zeros(1, 3 * side, 4 * side)
    for row, column in ((0, 1), (1, 3), (2, 0), (2, 2)):
        large[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    whole: list[Tensor] = []

    def look(_: object, given: tuple[Tensor, ...]) -> None:
        if given[0].shape[-2:] == (side, side):
            whole.append(given[0])

    hook = network.register_forward_pre_hook(look)
    posterior = blur_posterior(large, 2, network)
    hook.remove()
    assert len(whole) == TILES * len(WHOLE)
    # Turned, but all of them.
    values = tile.flatten().sort().values
    for plane in whole:
        torch.testing.assert_close(plane.flatten().sort().values, values)
    assert torch.isfinite(posterior.mean).all()


def test_an_image_that_is_just_small_enough_is_read_whole() -> None:
    _, shapes = seen(picture(1, 512, 512), estimator())
    assert Counter(shapes) == {(1, 512, 512): 4, (1, 384, 384): 4}


def test_corners_are_read_as_often_as_the_whole() -> None:
    _, shapes = seen(picture(1, 40, 30), estimator())
    turned = {(1, 40, 30): 2, (1, 30, 40): 2, (1, 30, 22): 2, (1, 22, 30): 2}
    assert Counter(shapes) == turned


def test_a_tiny_image_is_read_whole() -> None:
    _, shapes = seen(picture(1, 20, 40), estimator())
    assert set(shapes) == {(1, 20, 40), (1, 40, 20)}


def test_an_estimate_keeps_no_graph_and_no_seed() -> None:
    network = KernelEstimator((8, 8, 8))
    before = torch.get_rng_state()
    assert not blur_posterior(picture(1, 20, 20), 2, network).mean.requires_grad
    assert torch.equal(before, torch.get_rng_state())


def test_the_kernel_to_restore_with_is_the_mean_and_what_is_added() -> None:
    posterior = BlurPosterior(
        mean=torch.tensor([0.3, 0.5, -0.1]),
        deviation=torch.ones(3),
        families=torch.ones(len(FAMILY_ORDER)),
        decision=Decision(shift=torch.tensor([-0.2, -0.1, 0.05]), noise=1.0, unexplained=0.0),
    )
    torch.testing.assert_close(posterior.careful.mean, torch.tensor([0.1, 0.4, -0.05]))
    # There is nothing to add twice.
    assert posterior.careful.decision is None
    assert posterior.careful.careful is not posterior
    torch.testing.assert_close(posterior.careful.careful.mean, posterior.careful.mean)


def test_the_kind_of_noise_bears_on_the_decision_alone() -> None:
    network, planes = estimator(), picture(1, 24, 20)
    white, blocky = (
        blur_posterior(planes, 2, network, statistics=(-0.3, 0.0, value, *[0.0] * (STATISTICS - 3)))
        for value in (0.0, 1.5)
    )
    torch.testing.assert_close(white.mean, blocky.mean)
    torch.testing.assert_close(white.deviation, blocky.deviation)
    assert abs(decided(white).noise - decided(blocky).noise) > 1e-3


def test_what_is_known_of_the_optics_bears_on_both() -> None:
    network, planes = estimator(), picture(1, 24, 20)
    plain, known = (
        blur_posterior(planes, 2, network),
        blur_posterior(planes, 2, network, optics=1.0),
    )
    assert float((plain.mean - known.mean).abs().max()) > 1e-3
    assert float((decided(plain).shift - decided(known).shift).abs().max()) > 1e-4
    same(blur_posterior(planes, 2, network, optics=math.nan), plain)


def test_a_new_network_restores_with_a_narrower_kernel_whatever_it_sees() -> None:
    torch.manual_seed(0)
    network = KernelEstimator((8, 8, 8)).requires_grad_(False)
    first, second = (
        decided(blur_posterior(picture(1, 24, 20, seed=s), 2, network)) for s in (0, 1)
    )
    assert float(first.shift[:2].max()) < 0
    torch.testing.assert_close(first.shift[:2], second.shift[:2])


@given(numbers=st.lists(st.floats(-100, 100), min_size=5, max_size=5))
def test_decisions_keep_within_their_ranges(numbers: list[float]) -> None:
    decision = Decision.of(torch.tensor(numbers))
    for value, (low, high) in (
        (decision.noise, NOISE_RANGE),
        (decision.unexplained, UNEXPLAINED_RANGE),
    ):
        assert math.exp(low) * (1 - 1e-5) <= value <= math.exp(high) * (1 + 1e-5)


def test_images_with_one_blur_decide_together() -> None:
    decisions = [
        Decision(shift=torch.tensor([a, 0.0, 0.0]), noise=n, unexplained=n)
        for a, n in ((-0.1, 0.5), (-0.3, 2.0))
    ]
    both = Decision.mean(decisions)
    torch.testing.assert_close(both.shift, torch.tensor([-0.2, 0.0, 0.0]))
    assert both.noise == pytest.approx(1)
    assert both.unexplained == pytest.approx(1)


@pytest.mark.parametrize(("spread", "share"), [(0.01, 0.0), (100.0, 1.0)])
def test_the_optics_count_where_the_image_says_little(spread: float, share: float) -> None:
    posterior = replace(
        blur_posterior(picture(1, 24, 20), 2, estimator()), deviation=torch.full((3,), spread)
    )
    diffraction = 1.5
    found = informed(posterior, diffraction)
    widths = share * torch.tensor([1.0, 1.0, 0.0])
    expected = posterior.mean + widths * (diffraction + OPTICS_PRIOR[0] - posterior.mean)
    torch.testing.assert_close(found.mean, expected, atol=5e-3, rtol=0)
    shift = decided(posterior).shift - OPTICS_CARE * widths
    torch.testing.assert_close(decided(found).shift, shift, atol=5e-3, rtol=0)
    assert informed(posterior, math.nan) is posterior


def test_the_class_of_an_image_changes_gradually_with_its_noise() -> None:
    posterior = replace(
        blur_posterior(picture(1, 24, 20), 2, estimator()), deviation=torch.full((3,), 0.3)
    )
    low, high = VISIBLE_NOISE
    found = [
        calibrated(posterior, shot_noise=False, noise=noise)
        for noise in (0.0, low, (low + high) / 2, high, 1.0)
    ]
    for values in ([one.mean for one in found], [one.deviation for one in found]):
        torch.testing.assert_close(values[0], values[1])
        torch.testing.assert_close(values[2], (values[1] + values[3]) / 2)
        torch.testing.assert_close(values[3], values[4])
    assert (found[-1].mean > found[0].mean)[:2].all()
    assert (found[-1].deviation < found[0].deviation).all()


@pytest.mark.parametrize(
    ("shot_noise", "noise", "kind"),
    [(True, 0.0, "shot noise"), (False, 0.005, "clean"), (False, 0.3, "noisy")],
)
def test_only_uncertain_estimates_change_what_was_decided_on(
    *, shot_noise: bool, noise: float, kind: str
) -> None:
    posterior = blur_posterior(picture(1, 24, 20), 2, estimator())
    for spread in (0.3, 5.0):
        given = replace(posterior, deviation=torch.full((3,), spread))
        found = calibrated(given, shot_noise=shot_noise, noise=noise)
        narrower = CARE * spread if spread > UNCERTAIN[1] else 0.0
        expected = given.careful.mean - narrower * torch.tensor([1.0, 1.0, 0.0])
        torch.testing.assert_close(found.careful.mean, expected)
        assert decided(found).noise == decided(given).noise
        rate, factor = CALIBRATIONS[kind]
        if spread > SOFT[1]:
            # Of soft objects the network is right.
            rate, factor = 0.0, 1.0
        torch.testing.assert_close(found.deviation, factor * given.deviation)
        moved = found.mean - given.mean
        torch.testing.assert_close(moved, rate * spread**2 * torch.tensor([1.0, 1.0, 0.0]))
