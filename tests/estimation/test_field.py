"""Blur that varies across the image: simulated, interpolated, estimated, smoothed, removed."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from napari_blindsr import (
    KernelField,
    Settings,
    StackOptions,
    estimate_field,
    estimate_kernel,
    restore,
    restore_stack,
)
from napari_blindsr.errors import BlindSRError, InputError, SettingsError
from napari_blindsr.estimation import field as field_module
from napari_blindsr.estimation.field import SMALLEST_REGION, region_windows
from napari_blindsr.estimation.posterior import BlurPosterior
from napari_blindsr.estimation.smoothing import krige
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.images.tiling import Box, field_tile, region_middles, region_weights
from napari_blindsr.physics.kernels import Line
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import (
    Degradation,
    DegradedField,
    degrade,
    degrade_field,
    gaussian_kernel,
)
from napari_blindsr.restoration.diagnostics import FLAGS, RunEvidence, run_field_checks
from napari_blindsr.restoration.problem import kernel_source
from napari_blindsr.restoration.result import Result
from napari_blindsr.stacks.plan import prepare_stack
from napari_blindsr.stacks.shared_kernel import informative_planes, shared_field

SCALE, SIZE = 2, 25


def gaussian(width: float) -> NDArray[np.float32]:
    """Return a kernel of a standard deviation in pixels of the input."""
    return gaussian_kernel(((SCALE * width) ** 2,) * 2, 0.0, scale=SCALE, size=SIZE)


WIDTHS = np.geomspace(0.6, 1.6, 7)
"""Of the true kernels, from left to right."""

GROWING = np.stack([gaussian(width) for width in WIDTHS])[None]


def cells(shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    sharp = fluorescent_cells(shape, seed=seed)
    scaled: NDArray[np.float32] = (sharp / sharp.max()).astype(np.float32)
    return scaled


def growing(side: int = 96, *, seed: int = 0, **options: Any) -> DegradedField:
    """Return cells (side, side) whose blur grows from left to right."""
    length = SCALE * side + SIZE - 1
    degradation = Degradation(scale=SCALE, noise=0.003, seed=seed, **options)
    return degrade_field(cells((length, length), seed), GROWING, degradation)


def true_widths(side: int, columns: int) -> NDArray[np.float64]:
    middles = region_middles(side, len(WIDTHS))
    return np.exp(np.interp(region_middles(side, columns), middles, np.log(WIDTHS)))


def psnr(image: NDArray[Any], truth: NDArray[Any]) -> float:
    inner = (slice(12, -12),) * 2
    error = np.mean((image[inner].astype(float) - truth[inner]) ** 2)
    return float(10 * np.log10(np.ptp(truth) ** 2 / error))


# Where regions lie, and what is between them.


@given(length=st.integers(1, 500), count=st.integers(1, 12), seed=st.integers(0, 9))
@settings(deadline=None)
def test_weights_sum_to_one_and_are_whole_at_the_middles(
    length: int, count: int, seed: int
) -> None:
    positions = np.random.default_rng(seed).uniform(-length, 2 * length, 20)
    weights = region_weights(positions, length, count)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert ((weights > 0).sum(axis=1) <= 2).all()
    middles = region_middles(length, count)
    np.testing.assert_allclose(
        region_weights(middles, length, count), np.eye(count), atol=1e-9 * length
    )
    # Linear: a ramp that goes on beyond neither end comes out as it is.
    np.testing.assert_allclose(
        weights @ middles, np.clip(positions, middles[0], middles[-1]), atol=1e-9 * length
    )


def test_regions_are_looked_at_with_some_overlap() -> None:
    windows = region_windows((2, 3), (100, 90))
    assert len(windows) == 6
    seen = np.zeros((100, 90), int)
    for window in windows:
        seen[window.slices] += 1
    assert seen.min() == 1
    assert seen[50, 30] == 4
    first = windows[0]
    assert (first.top, first.left) == (0, 0)
    assert first.bottom > 50
    assert first.right > 30


def field_of_gaussians(shape: tuple[int, int] = (60, 80)) -> KernelField:
    """Return the estimated field of an image: Gaussians."""
    image = growing(96).image[: shape[0], : shape[1]]
    return estimate_field(image, scale=SCALE, field=(2, 2), device="cpu")


def test_between_gaussians_there_are_gaussians() -> None:
    field = field_of_gaussians()
    assert field.gaussians is not None
    rows, columns = field.middles
    for row, column in field.places:
        kernel = field.kernels[row, column]
        np.testing.assert_allclose(field.at(rows[row], columns[column]), kernel, atol=1e-6)
        # Beyond the outermost middles nothing changes.
        if row == column == 0:
            np.testing.assert_allclose(field.at(-50, -50), kernel, atol=1e-6)
    between = field.at(float(rows.mean()), float(columns.mean()))
    assert between.shape == (field.size, field.size)
    assert between.sum() == pytest.approx(1, abs=1e-5)
    # The logarithm of a Gaussian is a quadratic polynomial: its third differences vanish.
    line = between[field.size // 2].astype(float)
    line = np.log(line[line > 0])
    assert len(line) >= field.size - SCALE
    np.testing.assert_allclose(np.diff(line, 3)[3:-3], 0, atol=2e-2)


def test_other_kernels_are_interpolated_value_by_value() -> None:
    kernels = np.stack([np.roll(gaussian(1.0), n, axis=1) for n in (0, 2)])[None]
    field = KernelField(kernels=kernels, extent=Box.whole((10, 20)))
    np.testing.assert_allclose(field.at(3, 9.5), kernels.mean(axis=(0, 1)), atol=1e-7)
    np.testing.assert_allclose(
        field.at(3, 7), 0.75 * kernels[0, 0] + 0.25 * kernels[0, 1], atol=1e-7
    )
    moved = field.moved(5, -8)
    np.testing.assert_array_equal(moved.at(8, -1), field.at(3, 7))


@given(
    height=st.integers(24, 3000),
    width=st.integers(24, 3000),
    rows=st.integers(1, 8),
    columns=st.integers(2, 8),
    scale=st.integers(1, 8),
)
@settings(deadline=None)
def test_tiles_are_small_against_the_regions(
    height: int, width: int, rows: int, columns: int, scale: int
) -> None:
    side = field_tile((height, width), (rows, columns), scale=scale, tile="auto")
    assert side >= 64
    assert side == 64 or side <= scale * width / columns / 2
    assert field_tile((height, width), (rows, columns), scale=scale, tile=256) <= 256


# Simulation.


def test_equal_kernels_degrade_as_one_does() -> None:
    sharp = cells((88, 80))
    kernel = gaussian(0.9)
    for border in ("extend", "circular"):
        degradation = Degradation(scale=SCALE, border=border)
        one = degrade(sharp, kernel, degradation)
        many = degrade_field(sharp, np.stack([[kernel] * 3] * 2), degradation)
        np.testing.assert_allclose(many.image, one.image, atol=2e-6)
        np.testing.assert_array_equal(many.truth, one.truth)


def test_each_point_is_spread_by_the_kernel_of_its_place() -> None:
    sharp = np.zeros((SCALE * 64 + 24, SCALE * 63 + 24), np.float32)
    degradation = Degradation(scale=SCALE)
    narrow, wide = gaussian(0.6), gaussian(1.2)
    kernels = np.stack([narrow, wide])[None]
    for column, kernel in ((20, narrow), (110, wide)):
        point = sharp.copy()
        point[70, column + 12] = 1
        varied = degrade_field(point, kernels, degradation).image
        np.testing.assert_allclose(varied, degrade(point, kernel, degradation).image, atol=1e-6)
    # On the way from one to the other no light is lost.
    point = sharp.copy()
    point[70:74, 60:64] = 1
    total = degrade_field(point, kernels, degradation).image.sum()
    assert total == pytest.approx(degrade(point, narrow, degradation).image.sum(), rel=1e-3)


@pytest.mark.parametrize("shape", [(25, 25), (2, 25, 25), (0, 2, 25, 25), (1, 2, 24, 24)])
def test_the_simulation_refuses_what_is_no_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected"):
        degrade_field(cells((90, 90)), np.ones(shape), Degradation(scale=SCALE))


# The estimate.


def test_widths_follow_the_true_ones() -> None:
    side = 120
    field = estimate_field(growing(side).image, scale=SCALE, field=(2, 4), device="cpu")
    found = np.array(
        [[math.sqrt(math.prod(blur.widths)) / SCALE for blur in line] for line in field.blurs]
    )
    wanted = true_widths(side, 4)
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_allclose(found, np.broadcast_to(wanted, (2, 4)), rtol=0.35)
    report = json.loads(json.dumps(field.report()))
    assert report["shape"] == [2, 4]
    assert report["regions"][1][3]["widths"] == list(field.blurs[1][3].widths)


def test_an_empty_corner_takes_its_neighbours_blur() -> None:
    image = growing(120).image.copy()
    rng = np.random.default_rng(0)
    # Larger than what is used of the corner's region: nothing there but noise.
    image[:52, :52] = 0.02 + rng.normal(0, 0.003, (52, 52))
    field = estimate_field(image, scale=SCALE, field=(3, 3), device="cpu")
    corner, below, beside = field.blurs[0][0], field.blurs[2][0], field.blurs[0][1]
    assert 0.8 * below.widths[1] < corner.widths[0] < 1.25 * beside.widths[0]

    def spread(blur: Any) -> float:
        low, high = blur.intervals[0]
        return float(high / low)

    assert spread(corner) > spread(below)


def test_constant_and_missing_regions_are_not_estimated() -> None:
    image = growing(96).image.copy()
    image[:60, :60] = 0.5
    mask = np.zeros(image.shape, bool)
    mask[:, 36:60] = True
    field = estimate_field(image, scale=SCALE, field=(2, 2), mask=mask, device="cpu")
    assert np.isfinite(field.kernels).all()
    with pytest.raises(InputError, match="constant"):
        estimate_field(np.full((96, 96), 0.5), scale=SCALE, field=(2, 2), device="cpu")


def posterior(log: float, deviation: float) -> BlurPosterior:
    return BlurPosterior(
        mean=torch.tensor([log, log, 0.0]),
        deviation=torch.full((3,), deviation),
        families=torch.full((5,), 0.2),
    )


LINE = torch.stack((torch.zeros(5), torch.linspace(0.1, 0.9, 5)), dim=1)


def test_certain_posteriors_stay_and_uncertain_ones_move() -> None:
    logs = (-1.0, -0.5, 0.0, 0.5, 1.0)
    certain = krige([posterior(log, 0.05) for log in logs], LINE, LINE)
    np.testing.assert_allclose([r.mean[0] for r in certain], logs, atol=0.05)
    # One that knows nothing, and says so.
    lost = [
        posterior(3.0 if n == 2 else log, 2.0 if n == 2 else 0.05) for n, log in enumerate(logs)
    ]
    followed = krige(lost, LINE, LINE)
    assert float(followed[2].mean[0]) == pytest.approx(0, abs=0.15)
    assert 0.05 < float(followed[2].deviation[0]) < 0.5
    missing = krige(
        [None if n == 4 else posterior(log, 0.05) for n, log in enumerate(logs)], LINE, LINE
    )
    assert 0.4 < float(missing[4].mean[0]) < 1.3
    assert float(missing[4].deviation[0]) > 2 * float(missing[3].deviation[0])


def test_agreement_is_no_gain_in_certainty() -> None:
    smoothed = krige([posterior(0.3, 0.2)] * 5, LINE, LINE)
    for one in smoothed:
        assert float(one.mean[0]) == pytest.approx(0.3, abs=1e-4)
        assert 0.19 < float(one.deviation[0]) < 0.25


def test_one_place_is_left_alone() -> None:
    (only,) = krige([posterior(0.3, 0.2)], torch.zeros(1, 2), torch.zeros(1, 2))
    assert float(only.mean[0]) == pytest.approx(0.3)
    assert float(only.deviation[0]) == pytest.approx(0.2, rel=1e-3)


def test_other_families_have_kernels_of_one_size() -> None:
    field = estimate_field(
        growing(64).image, scale=SCALE, field=(1, 2), kernel="disk", device="cpu"
    )
    assert field.gaussians is None
    assert field.kernels.shape[:2] == (1, 2)
    np.testing.assert_allclose(field.kernels.sum(axis=(2, 3)), 1, atol=1e-5)


# Restoring.


SIDE = 64
COMMON: dict[str, Any] = {"scale": SCALE, "device": "cpu"}


@pytest.fixture(scope="module")
def made() -> DegradedField:
    return growing(SIDE, seed=3)


@pytest.fixture(scope="module")
def read(made: DegradedField) -> Result:
    """Return the restoration with an estimated field."""
    return restore(made.image, field=(1, 2), **COMMON)


@pytest.fixture(scope="module")
def known(made: DegradedField) -> Result:
    """Return the restoration with the true field."""
    return restore(made.image, kernel=made.kernels, **COMMON)


def test_a_field_beats_one_kernel(made: DegradedField, read: Result, known: Result) -> None:
    one = restore(made.image, **COMMON)
    # More than 3 dB in larger images, which can be divided further.
    assert psnr(read.image, made.truth) > psnr(one.image, made.truth) + 0.3
    assert psnr(known.image, made.truth) > psnr(one.image, made.truth) + 1.5


def test_a_result_has_its_field(read: Result) -> None:
    assert read.field is not None
    assert read.field.shape == (1, 2)
    assert read.blur is None
    assert read.kernel.ndim == 2
    assert read.kernels.shape == (1, 2, *read.kernel.shape)
    np.testing.assert_allclose(read.kernel, read.field.at(0, (SIDE - 1) / 2), atol=1e-6)
    assert "kernel estimator" in read.learned_priors
    assert not {"kernel_unstable", "kernel_at_bound"} & {flag.name for flag in read.flags}
    report = json.loads(json.dumps(read.report()))
    assert report["field"]["shape"] == [1, 2]
    assert Settings.from_json(report["settings"]) == read.settings


def test_the_flag_of_a_varying_blur_names_the_field() -> None:
    kind = next(kind for kind in FLAGS if kind.name == "kernel_unstable")
    assert "field" in kind.advice


def test_flags_say_in_how_many_regions() -> None:
    evidence = RunEvidence(scale=2, kernel=gaussian(1.0), widths=(2.0, 2.0), known=True)
    cut = dataclasses.replace(evidence, kernel=gaussian(1.0)[8:-8, 8:-8])
    messages = {f.name: f.message for f in run_field_checks({(0, 0): evidence, (0, 1): cut})}
    assert "in 1 of 2 regions, such as row 0, column 1" in messages["kernel_at_bound"]
    everywhere = dataclasses.replace(evidence, covered=0.5)
    (flag,) = run_field_checks({(0, 0): everywhere, (0, 1): everywhere})
    assert flag.message == "50% of the pixels are missing"


@pytest.mark.parametrize("finish", ["prior", "measurement"])
def test_equal_kernels_restore_as_one_does(finish: Any) -> None:
    kernel = gaussian(0.9)
    sharp = cells((152, 120))
    image = degrade(sharp, kernel, Degradation(scale=SCALE, noise=0.003)).image
    many = restore(image, kernel=np.stack([[kernel, kernel]]), finish=finish, **COMMON)
    one = restore(image, kernel=kernel, finish=finish, **COMMON)
    assert one.tiles == 1
    assert many.tiles > 1
    # As far as tiles differ from the whole.
    assert np.abs(many.image - one.image).max() < 0.02 * np.ptp(one.image)


def test_there_are_no_seams(made: DegradedField, known: Result) -> None:
    assert known.tiles == 4
    error = known.image.astype(float) - made.truth
    jumps = np.abs(np.diff(error, axis=1)).mean(axis=0)[12:-12]
    # Where tiles meet the error jumps no more than elsewhere.
    middle = SCALE * SIDE // 2 - 12
    near = jumps[middle - 9 : middle + 9]
    assert near.max() < 1.2 * jumps.max(initial=0, where=np.abs(np.arange(len(jumps)) - middle) > 9)


def test_a_region_is_that_part_of_the_whole(made: DegradedField, known: Result) -> None:
    region = Box(top=8, left=32, bottom=56, right=64)
    part = restore(made.image, kernel=made.kernels, region=region, **COMMON)
    assert part.image.shape == (96, 64)
    assert part.field is not None
    assert part.field.extent == Box.whole(made.image.shape)
    inside = known.image[region.scaled(SCALE).slices]
    assert np.abs(part.image - inside).mean() < 0.01 * np.ptp(inside)
    # The region's own kernel, not one of a grid that the region was divided by.
    assert known.field is not None
    np.testing.assert_allclose(part.kernel, known.field.middle_of(region), atol=1e-6)


def test_an_estimated_field_divides_the_whole_image_whatever_the_region(
    made: DegradedField, read: Result
) -> None:
    part = restore(
        made.image, field=(1, 2), region=Box(top=0, left=0, bottom=20, right=20), **COMMON
    )
    np.testing.assert_allclose(part.kernels, read.kernels, atol=1e-4)


def test_gain_and_periodic_borders_go_with_it(known: Result) -> None:
    made = growing(SIDE, seed=3, gain=0.5)
    options: dict[str, Any] = {"gain": 0.5, "noise": 0.003, "kernel": made.kernels, **COMMON}
    dark = restore(made.image, **options)
    inner = (slice(24, -24),) * 2
    assert np.abs(dark.image - known.image)[inner].mean() < 0.01 * np.ptp(known.image)
    # Continued on the other side, every place still has the kernel of its own.
    periodic = restore(made.image, border="circular", **options)
    assert np.abs(periodic.image - dark.image)[inner].mean() < 0.005 * np.ptp(known.image)


def test_what_is_covered_is_filled_in(made: DegradedField, known: Result) -> None:
    mask = np.zeros(made.image.shape, bool)
    # Wider than the kernel, so that nobody sees its middle.
    mask[20:44, 4:28] = True
    options: dict[str, Any] = {"finish": "measurement", "kernel": made.kernels, **COMMON}
    covered = restore(made.image, mask=mask, **options)
    assert covered.covered is not None
    assert covered.covered[58:70, 26:38].all()
    far = covered.image[:, 96:], known.image[:, 96:]
    assert np.abs(far[0] - far[1]).mean() < 0.02 * np.ptp(known.image)


def test_the_field_of_a_result_restores_again(made: DegradedField, read: Result) -> None:
    assert read.field is not None
    again = restore(made.image, kernel=read.field, **COMMON)
    np.testing.assert_allclose(again.image, read.image, atol=1e-5)


def test_kernels_off_their_centres_are_centred() -> None:
    kernel = gaussian(0.8)
    shifted = np.stack([[kernel, np.roll(kernel, 2, axis=1)]])
    settings = Settings(scale=SCALE, kernel="known")
    field = kernel_source(settings, shifted, (60, 60))
    assert isinstance(field, KernelField)
    pad = (field.size - SIZE) // 2
    for column in (0, 1):
        np.testing.assert_allclose(field.kernels[0, column], np.pad(kernel, pad), atol=2e-3)


def test_colours_have_fields() -> None:
    image = np.stack([growing(48, seed=3).image] * 3, axis=-1)
    result = restore(image, field=(1, 2), **COMMON)
    assert result.image.shape == (96, 96, 3)
    assert result.kernels.shape[:2] == (1, 2)


# Stacks.


@pytest.mark.parametrize("sharing", ["plane", "shared"])
def test_stacks_have_fields(sharing: Any) -> None:
    planes = np.stack([growing(48, seed=seed).image for seed in (3, 4)])
    result = restore_stack(
        planes,
        Settings(scale=SCALE, field=(1, 2), device="cpu"),
        axes="TYX",
        options=StackOptions(kernels=sharing),
    )
    assert not result.failures
    assert len(result.kernels) == (1 if sharing == "shared" else 2)
    for entry in result.kernels:
        assert entry.field is not None
        assert entry.kernels.shape[:2] == (1, 2)
        assert len(entry.field.blurs[0]) == 2
    assert np.isfinite(result.image).all()
    assert "kernel estimator" in result.learned_priors
    json.dumps(result.report())


# Bad input.

PICTURE = np.random.default_rng(0).random((96, 90)).astype(np.float32)
GRID = np.stack([[gaussian(0.8)] * 3] * 2)

BAD: dict[str, tuple[type[BlindSRError], str, dict[str, Any]]] = {
    "no rows": (SettingsError, r"field is \(0, 3\); expected rows and columns", {"field": (0, 3)}),
    "one number": (SettingsError, "expected rows and columns", {"field": (3,)}),
    "small": (
        InputError,
        rf"regions of 12 × 30 .* at least {SMALLEST_REGION} × {SMALLEST_REGION}.* at most 4 × 3",
        {"field": (8, 3)},
    ),
    "optimises": (
        SettingsError,
        "'mlmc' optimises one kernel",
        {"field": (2, 2), "method": "mlmc"},
    ),
    "grid optimises": (
        SettingsError,
        "grid of 2 × 3, but method 'ddsr' makes its image in one go",
        {"kernel": GRID, "method": "ddsr"},
    ),
    "other grid": (
        SettingsError,
        "field is 2 × 2, but the known kernels are a grid of 2 × 3",
        {"kernel": GRID, "field": (2, 2)},
    ),
    "one kernel": (
        SettingsError,
        "field is 2 × 2, but the known kernels are a grid of 1 × 1",
        {"kernel": GRID[0, 0], "field": (2, 2)},
    ),
    "shape": (InputError, r"rows × columns × K × K", {"kernel": GRID[0]}),
    "not square": (InputError, r"rows × columns × K × K", {"kernel": GRID[..., :-2]}),
    "one is nothing": (
        InputError,
        "row 1, column 2 of the grid the kernel has sum 0",
        {"kernel": GRID * (np.arange(6).reshape(2, 3, 1, 1) != 5)},
    ),
    "in one go": (SettingsError, "tile is None", {"kernel": GRID, "tile": None}),
    "uncertainty": (SettingsError, "known for one blur only", {"field": (2, 2), "uncertainty": 4}),
    "more than pixels": (
        InputError,
        "no more kernels than pixels",
        {"kernel": np.broadcast_to(GRID[:1, :1], (2, 100, SIZE, SIZE))},
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_before_the_work(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, message, values = BAD[case]

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(field_module, "estimate_posterior", work)
    with pytest.raises(kind, match=message) as caught:
        restore(PICTURE, scale=SCALE, **values)
    assert "\n" not in str(caught.value)


def test_a_stack_is_refused_before_its_planes() -> None:
    stack = np.stack([PICTURE] * 2)
    with pytest.raises(InputError, match="regions of 12"):
        restore_stack(stack, Settings(scale=SCALE, field=(8, 3)), axes="TYX")
    known = Settings(scale=SCALE, kernel="known", method="ddsr")
    with pytest.raises(SettingsError, match="one go"):
        restore_stack(stack, known, axes="TYX", known_kernel=GRID)


def test_settings_remember_the_field() -> None:
    chosen = Settings(scale=2, field=(3, 4))
    record = json.loads(json.dumps(chosen.to_json()))
    assert Settings.from_json(record) == chosen
    del record["field"]
    # Settings of earlier versions have one blur.
    assert Settings.from_json(record) == dataclasses.replace(chosen, field=(1, 1))


def test_regions_of_a_stack_have_one_family() -> None:
    size = Line().size(SCALE)
    kernel = Line(half_length=(3.0, 3.0)).sample(
        1, scale=SCALE, size=size, center=kernel_center(size, SCALE, "camera"),
        generator=torch.Generator().manual_seed(1),
    )[0].numpy()  # fmt: skip
    moved = degrade(data.coins()[:256, :256], kernel, Degradation(scale=SCALE)).image
    assert estimate_kernel(moved, scale=SCALE, device="cpu").family == "line"
    wanted = Settings(scale=SCALE, field=(1, 2), finish="measurement", device="cpu", threads=1)
    stack = prepare_stack(np.stack([moved, moved]), wanted, axes="TYX")
    field = shared_field(informative_planes(stack, stack.indices), stack.settings)
    alone = estimate_field(moved, scale=SCALE, field=(1, 2), device="cpu")
    for found in (field, alone):
        assert {blur.family for line in found.blurs for blur in line} == {"gaussian"}
        assert found.gaussians is not None
    np.testing.assert_allclose(field.kernels, alone.kernels, atol=0.02 * alone.kernels.max())
