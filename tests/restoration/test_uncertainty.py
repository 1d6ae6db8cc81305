"""The standard deviation of each pixel: unit, axes, what makes it larger, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr
from tifffile import imread

from napari_blindsr import restore
from napari_blindsr.errors import SettingsError
from napari_blindsr.estimation.estimate import estimate_kernel
from napari_blindsr.estimation.posterior import BlurPosterior, draw_kernels
from napari_blindsr.methods import METHOD_TABLE
from napari_blindsr.physics.kernels import Disk, Gaussian, Line
from napari_blindsr.physics.kernels.moments import core_covariance, log_covariance
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel
from napari_blindsr.progress import Progress
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.restoration.uncertainty import (
    BLIND,
    KNOWN,
    Changes,
    Rule,
    combine,
    local_sd,
)
from napari_blindsr.settings import Settings
from tests.cli.command_line import check_refused, picture, run_here

SCALE = 2
KERNEL = gaussian_kernel((4.0, 3.0), 0.4, scale=SCALE)
FEW: dict[str, Any] = {"scale": SCALE, "uncertainty": 4, "device": "cpu", "threads": 1}
QUICK: dict[str, Any] = {**FEW, "finish": "measurement"}
"""Without a network, which takes most of the time and is no different in these respects."""


def scene() -> NDArray[np.float64]:
    """Return discs and a bar on the left, nothing on the right."""
    rows, columns = np.indices((86, 110))
    sharp = np.full(rows.shape, 0.2)
    for row, column, radius in ((25, 30, 7), (45, 40, 5), (62, 24, 6), (30, 48, 3)):
        sharp[np.hypot(rows - row, columns - column) < radius] = 0.8
    sharp[52:55, 30:56] = 0.6
    return sharp


def measured(noise: float = 0.0, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a degraded scene and its truth."""
    how = Degradation(scale=SCALE, noise=noise, seed=seed)
    made = degrade(scene(), KERNEL, how)
    return made.image, made.truth


@pytest.fixture(scope="module")
def blind() -> Any:
    """Return a restoration of a noisy image, and its truth."""
    image, truth = measured(noise=0.01)
    return restore(image, **FEW), truth


def test_it_is_where_the_errors_are(blind: Any) -> None:
    result, truth = blind
    found = result.uncertainty
    assert found.shape == result.image.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    error = np.abs(result.image - truth)
    assert spearmanr(found.ravel(), error.ravel())[0] > 0.5
    assert 1 / 3 < error.mean() / (np.sqrt(2 / np.pi) * found.mean()) < 3
    # Right of the things there is nothing to be wrong about.
    assert found[14:-14, -26:-14].mean() < 0.25 * found[14:-14, 8:40].mean()
    assert result.report()["uncertainty"] == pytest.approx(np.sqrt((found**2).mean()), rel=1e-5)


def test_a_seed_repeats_it_and_another_one_does_not() -> None:
    image, _ = measured(noise=0.01)
    result = restore(image, **QUICK)
    np.testing.assert_array_equal(restore(image, **QUICK).uncertainty, result.uncertainty)
    other = restore(image, **QUICK, seed=1)
    np.testing.assert_array_equal(other.image, result.image)
    assert other.uncertainty is not None
    assert result.uncertainty is not None
    assert not np.array_equal(other.uncertainty, result.uncertainty)


def test_it_leaves_the_result_alone_and_is_off_unless_asked_for() -> None:
    image, _ = measured(noise=0.01)
    plain = restore(image, kernel=KERNEL, **{**QUICK, "uncertainty": 0})
    assert plain.uncertainty is None
    assert plain.report()["uncertainty"] is None
    np.testing.assert_array_equal(restore(image, kernel=KERNEL, **QUICK).image, plain.image)


def test_more_noise_makes_it_larger() -> None:
    quiet, loud = (
        restore(measured(noise)[0], kernel=KERNEL, **FEW).uncertainty for noise in (0.002, 0.05)
    )
    assert quiet is not None
    assert loud is not None
    flat = np.s_[14:-14, -26:-14]
    assert loud[flat].mean() > 3 * quiet[flat].mean()
    assert loud.mean() > quiet.mean()


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX"])
def test_it_has_the_axes_and_the_unit_of_the_image(axes: str) -> None:
    grey, _ = measured(noise=0.01)
    image = {"YX": grey, "YXC": np.stack([grey] * 3, -1), "CYX": np.stack([grey, 0.5 * grey])}[axes]
    one = restore(image, axes=axes, kernel=KERNEL, **QUICK)
    thousand = restore(1000 * image + 50, axes=axes, kernel=KERNEL, **QUICK)
    assert one.uncertainty is not None
    assert thousand.uncertainty is not None
    assert one.uncertainty.shape == one.image.shape
    assert thousand.uncertainty.mean() == pytest.approx(1000 * one.uncertainty.mean(), rel=0.05)
    if axes == "CYX":
        assert one.uncertainty[1].mean() < one.uncertainty[0].mean()


def test_tiles_and_regions_have_it() -> None:
    large = np.tile(measured(noise=0.01)[0], (5, 4))[:140, :140]
    options = {**QUICK, "kernel": KERNEL}
    whole = restore(large, tile=None, **options).uncertainty
    tiles = restore(large, tile=256, **options)
    assert tiles.tiles > 1
    assert tiles.uncertainty is not None
    assert whole is not None
    # The same noise is drawn for the whole image, whatever the tiles; at its borders a tile
    # and the whole continue it differently.
    inner = np.s_[24:-24, 24:-24]
    np.testing.assert_allclose(
        tiles.uncertainty[inner], whole[inner], rtol=0.02, atol=0.02 * whole.mean()
    )
    region = restore(large, region=(slice(40, 90), slice(30, 70)), **options).uncertainty
    assert region is not None
    assert region.shape == (100, 80)
    same = whole[80:180, 60:140]
    # Another noise is drawn, and what surrounds the region is looked at alone.
    assert spearmanr(region.ravel(), same.ravel())[0] > 0.4
    assert 0.5 < np.median(region / same) < 2


def test_covered_pixels_and_families_other_than_gaussians() -> None:
    image, _ = measured(noise=0.01)
    mask = np.zeros(image.shape, dtype=bool)
    mask[10:14, 8:12] = True
    result = restore(image, kernel=Disk(), mask=mask, **QUICK)
    assert result.uncertainty is not None
    assert np.isfinite(result.uncertainty).all()
    assert result.blur is not None
    assert result.blur.posterior is not None


def test_a_stop_keeps_the_result_without_it() -> None:
    image, _ = measured()
    run = iterate(image, Settings(scale=SCALE, uncertainty=4, finish="measurement", device="cpu"))
    report = next(run)
    while "restoration 2 of 4" not in report.stage:
        report = next(run)
    with pytest.raises(StopIteration) as end:
        run.send(True)
    result = end.value.value
    assert result.uncertainty is None
    assert np.isfinite(result.image).all()
    assert any("uncertainty" in note for note in result.notes)


def test_progress_counts_the_restorations() -> None:
    image, _ = measured()
    seen: list[Progress] = []
    restore(image, kernel=KERNEL, progress=seen.append, **QUICK)
    counted = [p for p in seen if p.unit == "restoration"]
    assert {p.total for p in counted} == {4}
    assert [p.step for p in counted] == sorted(p.step for p in counted)
    assert {p.step for p in counted} == {0, 1, 2, 3}


@pytest.mark.parametrize("count", [1, -2, 2.0, "4"])
def test_too_few_restorations_are_refused(count: Any) -> None:
    with pytest.raises(SettingsError, match=r"uncertainty is .*from 2"):
        Settings(scale=2, uncertainty=count, finish="measurement")
    if count != 1:
        with pytest.raises(SettingsError, match=r"uncertainty is .*from 1"):
            Settings(scale=2, uncertainty=count)


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_methods_that_optimise_refuse_it_unless_their_finish_has_its_kernel(method: Any) -> None:
    if not method.optimises:
        assert Settings(scale=2, method=method.name, uncertainty=4).takes_uncertainty
        return
    with pytest.raises(SettingsError, match=r"optimises.*fast"):
        Settings(scale=2, method=method.name, uncertainty=4)
    with pytest.raises(SettingsError, match="optimises"):
        Settings(scale=2, method=method.name, kernel="known", finish="none", uncertainty=4)
    assert Settings(
        scale=2, method=method.name, kernel="known", finish="measurement", uncertainty=4
    ).takes_uncertainty


def test_a_target_takes_no_uncertainty() -> None:
    image, _ = measured()
    run = iterate(image, Settings(scale=SCALE, uncertainty=4), target=np.zeros((4, 4)))
    with pytest.raises(SettingsError, match="target"):
        next(run)


def test_drawn_gaussians_have_the_mean_and_the_spread_of_the_posterior() -> None:
    reading = BlurPosterior(
        mean=torch.tensor([0.5, 0.2, 0.1]),
        deviation=torch.tensor([0.1, 0.2, 0.05]),
        families=torch.empty(0),
    )
    kernels = draw_kernels(
        Gaussian(), reading, 400, scale=3, geometry="camera", largest=201, seed=0
    )
    found = torch.stack(
        [
            log_covariance(core_covariance(torch.from_numpy(k)[None].double())[0] / 9)
            for k in kernels
        ]
    )
    assert torch.allclose(found.mean(0), reading.mean.double(), atol=0.03)
    assert torch.allclose(found.std(0), reading.deviation.double(), rtol=0.12)
    assert all(k.sum() == pytest.approx(1, abs=1e-5) and (k >= 0).all() for k in kernels)
    small = draw_kernels(Gaussian(), reading, 3, scale=3, geometry="camera", largest=9, seed=0)
    assert {k.shape for k in small} == {(9, 9)}


def test_other_families_are_drawn_among_candidates_that_agree() -> None:
    image, _ = measured()
    reading = estimate_kernel(image, scale=SCALE, device="cpu").posterior
    assert reading is not None
    kernels = draw_kernels(Line(), reading, 30, scale=SCALE, geometry="camera", largest=201, seed=0)
    logs = log_covariance(core_covariance(torch.from_numpy(np.stack(kernels)).double()) / SCALE**2)
    usual = Line().sample(
        200, scale=SCALE, size=41, center=20.5, generator=torch.Generator().manual_seed(1)
    )
    spread = log_covariance(core_covariance(usual.double()) / SCALE**2)
    mean = reading.mean.double()
    assert (logs - mean).square().sum(1).mean() < 0.5 * (spread - mean).square().sum(1).mean()
    spectrum = estimate_kernel(image, scale=SCALE, reader="spectrum", device="cpu")
    assert spectrum.posterior is None


RULES = (BLIND, KNOWN)


@given(unit=st.floats(1e-3, 1e4), rule=st.sampled_from(RULES))
def test_the_rule_has_the_unit_of_the_image(unit: float, rule: Rule) -> None:
    rng = np.random.default_rng(0)
    image, *squares = (rng.random((12, 13)).astype(np.float32) for _ in range(3))

    def changes(factor: float) -> Changes:
        data, kernel = ((factor * square).astype(np.float32) for square in squares)
        return Changes(data=data, kernel=kernel if rule is BLIND else None)

    one = combine(image, changes(1.0), rule, axes="YX", scale=2)
    many = combine(
        (unit * image).astype(np.float32),
        changes(unit**2),
        rule,
        axes="YX",
        scale=2,
    )
    np.testing.assert_allclose(many, unit * one, rtol=1e-3)


def test_each_rule_is_a_product_of_powers_that_sum_to_one() -> None:
    for rule in RULES:
        powers = (rule.kernel, rule.data, rule.detail, rule.typical, rule.contrast)
        assert sum(powers) == pytest.approx(1, abs=0.02)


ROUNDED: dict[Any, tuple[float, float]] = {"float32": (0.05, 0.0), "bfloat16": (0.3, 0.02)}
"""How far rounding moves a map: by at most so much, and by more than 0.05 in so many pixels."""


@pytest.mark.parametrize("precision", ROUNDED)
def test_one_restoration_is_enough_with_the_image_prior(precision: Any) -> None:
    image, truth = measured(noise=0.01)
    options = {**FEW, "uncertainty": 1, "precision": precision}
    result = restore(image, **options)
    found = result.uncertainty
    assert found is not None
    assert found.shape == result.image.shape
    error = np.abs(result.image - truth)
    assert spearmanr(found.ravel(), error.ravel())[0] > 0.5
    # Nothing in it is drawn at random, and an offset is none of its business.
    moved = restore(image + 3, **{**options, "seed": 1}).uncertainty
    assert moved is not None
    most, share = ROUNDED[precision]
    floor = 0.02 * float(found.mean())
    np.testing.assert_allclose(moved, found, rtol=most, atol=floor)
    assert (~np.isclose(moved, found, rtol=0.05, atol=floor)).mean() <= share
    assert moved.mean() == pytest.approx(found.mean(), rel=0.01)
    # More restorations add nothing.
    np.testing.assert_array_equal(
        restore(image, **{**options, "uncertainty": 4}).uncertainty, found
    )
    # A known kernel is less uncertain than an estimated one.
    known = restore(image, kernel=KERNEL, **options).uncertainty
    assert known is not None
    assert known.mean() < 1.15 * found.mean()


def test_the_rule_by_hand() -> None:
    image = np.zeros((5, 5), np.float32)
    image[2, 2] = 9.0
    squares = np.full((5, 5), 4.0, np.float32)
    rule = replace(KNOWN, factor=3.0, data=0.5, detail=0.25, typical=0.25, contrast=0.0)
    found = combine(image, Changes(data=squares, kernel=None), rule, axes="YX", scale=2)
    # One of nine pixels is 9: mean 1, mean of squares 9.
    assert found[2, 2] == pytest.approx(3 * 2**0.75 * np.sqrt(8) ** 0.25, rel=1e-5)
    assert not combine(
        0 * image, Changes(data=squares, kernel=None), rule, axes="YX", scale=2
    ).any()


def test_local_standard_deviations_are_numpys() -> None:
    image = np.random.default_rng(0).random((9, 8, 2))
    found = local_sd(image, "YXC", 3)
    assert found[4, 5, 1] == pytest.approx(image[3:6, 4:7, 1].std(), rel=1e-9)


def test_the_command_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture((20, 21, 3))).save(tmp_path / "in.png")
    arguments = "restore in.png -o out.tif -s 2 --finish measurement --device cpu --threads 1"
    asked = f"{arguments} --uncertainty 2 --uncertainty-out sd.tif"
    assert run_here(asked, monkeypatch, tmp_path) == 0
    assert "sd.tif" in capfd.readouterr().err
    found = imread(tmp_path / "sd.tif")
    assert found.shape == (40, 42, 3)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    for wrong, words in (
        ("--uncertainty 2", "uncertainty-out"),
        ("--uncertainty-out b.tif", "uncertainty"),
        ("--uncertainty 1 --uncertainty-out b.tif", "from 2"),
        ("--uncertainty 2 --uncertainty-out b.png", ".npy"),
    ):
        check_refused(f"{arguments} --force {wrong}", words, tmp_path, monkeypatch, capfd)
