"""Batches: their shapes, their seeds, and that the truth behind them explains the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_blindsr.estimation.network import FAMILY_ORDER, NARROWEST_BLUR
from napari_blindsr.physics.kernels.moments import core_covariance
from napari_blindsr.physics.noise import noise_map
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.types import SCALES
from tests.training.conftest import Bank
from training import batches
from training.batches import (
    MICROGRAPHS,
    MISJUDGEMENT,
    ROUNDING_NOISE,
    SHARES,
    SIZES,
    ImageBatch,
    image_batch,
    kernel_batch,
    observe,
    random_blur,
    random_crop,
    random_kind,
)

SEEDS = range(12)


def of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(first: object, second: object) -> bool:
    """Compare batches field by field."""
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(
        a.shape == b.shape and torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in pairs
    )


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("microscope", [False, True])
def test_blurs(scale: int, *, microscope: bool) -> None:
    blurs = [random_blur(scale, of(seed), microscope=microscope) for seed in range(40)]
    assert {blur.family for blur in blurs} == set(range(len(FAMILY_ORDER)))
    for blur in blurs:
        size = len(blur.kernel)
        assert blur.kernel.shape == (size, size)
        assert size % 2 == 1
        assert blur.kernel.dtype == torch.float32
        assert float(blur.kernel.sum()) == pytest.approx(1, abs=1e-4)
        assert float(blur.kernel.min()) >= 0
        torch.testing.assert_close(blur.covariance, core_covariance(blur.kernel[None])[0])
        if blur.family == 0:
            # Narrow ones are sampled too coarsely for their covariance to be exact.
            least = float(torch.linalg.eigvalsh(blur.covariance)[0])
            assert least > 0.5 * min(NARROWEST_BLUR * scale, 0.2)
    again = random_blur(scale, of(7), microscope=microscope)
    assert torch.equal(again.kernel, blurs[7].kernel)


def test_kernel_batches(bank: Bank) -> None:
    shapes, scales = set(), set()
    for seed in SEEDS:
        batch = kernel_batch(bank, of(seed))
        count, height, width = batch.planes.shape
        assert (height, count) in SIZES
        assert width == height
        assert batch.planes.dtype == torch.float32
        assert torch.isfinite(batch.planes).all()
        assert batch.scale in SCALES
        assert batch.covariance.shape == (count, 2, 2)
        assert float(torch.linalg.eigvalsh(batch.covariance).min()) > 0
        assert batch.family.shape == (count,)
        assert set(batch.family.tolist()) <= set(range(len(FAMILY_ORDER)))
        assert same(batch, kernel_batch(bank, of(seed)))
        assert not same(batch, kernel_batch(bank, of(seed + 1000)))
        shapes.add(height)
        scales.add(batch.scale)
    assert len(shapes) > 1
    assert len(scales) > 1


def test_image_batches(bank: Bank) -> None:
    scales = set()
    for seed in SEEDS:
        batch = image_batch(bank, of(seed), side=50, count=3)
        # The crop is cut to what the scale divides.
        side = 50 // batch.scale * batch.scale
        assert batch.sharp.shape == (3, side, side)
        assert batch.data.shape == (3, side // batch.scale, side // batch.scale)
        size = batch.kernels.shape[-1]
        assert batch.kernels.shape == (3, size, size)
        torch.testing.assert_close(batch.kernels.sum(dim=(1, 2)), torch.ones(3))
        assert batch.noise.shape == batch.data.shape
        assert float(batch.noise.min()) >= 0
        assert -1e-6 < float(batch.sharp.min()) <= float(batch.sharp.max()) <= 1 + 1e-6
        for value in (batch.sharp, batch.data, batch.kernels):
            assert value.dtype == torch.float32
        assert same(batch, image_batch(bank, of(seed), side=50, count=3))
        assert not same(batch, image_batch(bank, of(seed + 1000), side=50, count=3))
        scales.add(batch.scale)
    assert len(scales) > 1


def residuals(batch: ImageBatch) -> list[float]:
    predicted = DataModule(batch.data, batch.kernels, batch.scale).predict(batch.sharp)
    return (batch.data - predicted).std(dim=(1, 2), correction=0).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_data_are_what_the_truth_predicts_up_to_the_noise(bank: Bank, seed: int) -> None:
    batch = image_batch(bank, of(seed), side=48, count=4, misjudged_share=0.0)
    assert not batch.log_variance_sd.any()
    for found, stated in zip(residuals(batch), batch.noise, strict=True):
        level = float(stated.square().mean().sqrt())
        # What is given is off by 15 %, as a standard deviation of its logarithm.
        if level > 0:
            assert abs(math.log(found / level)) < 4 * 0.15
        else:
            assert found < ROUNDING_NOISE * math.exp(4 * 0.15)


def test_the_noise_of_a_camera_is_given_for_each_pixel() -> None:
    dark, bright = np.full((64, 64), 0.05, np.float32), np.full((64, 64), 0.9, np.float32)
    both = np.concatenate((dark, bright))
    shots = [observe(both, MICROGRAPHS, of(seed)) for seed in range(40)]
    with_light = [shot for shot in shots if shot.shot > 0]
    assert 25 < len(with_light) < 40
    for shot in with_light:
        stated = noise_map(shot.plane, shot=shot.shot, base=shot.base)
        error = shot.plane - both
        for half in (slice(0, 64), slice(64, 128)):
            assert stated[half].mean() == pytest.approx(error[half].std(), rel=0.1)


def test_some_kernels_are_given_wrong(bank: Bank) -> None:
    stated, true = (
        [image_batch(bank, of(seed), side=48, count=4, misjudged_share=share) for seed in range(6)]
        for share in (1.0, 0.0)
    )
    wrong, explained = 0, []
    for first, second in zip(stated, true, strict=True):
        # The noise of a batch is drawn before, so the data are the same.
        assert torch.equal(first.data, second.data)
        assert first.kernels.shape == second.kernels.shape
        low, high = MISJUDGEMENT
        assert bool(((low <= first.log_variance_sd) & (first.log_variance_sd <= high)).all())
        for a, b in zip(first.kernels, second.kernels, strict=True):
            changed = not torch.equal(a, b)
            wrong += changed
            if changed:
                widths = core_covariance(torch.stack((a, b)).double())
                ratio = torch.linalg.det(widths[0]) / torch.linalg.det(widths[1])
                assert 0.02 < float(ratio) < 50
        explained += list(zip(residuals(first), residuals(second), strict=True))
    assert 6 <= wrong < 24
    assert sum(a for a, _ in explained) > sum(b for _, b in explained)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_crops(bank: Bank, kind: int) -> None:
    for side in (31, 160, 700):
        crop = random_crop(bank[kind], kind, side, of(0))
        assert crop.shape == (side, side)
        assert crop.dtype == np.float32
        assert 0 <= crop.min() <= crop.max() <= 1 + 1e-6
        assert crop.flags.c_contiguous


def test_some_pictures_are_softened_or_sharpened(bank: Bank) -> None:
    def roughness(seed: int) -> float:
        rng = of(seed)
        return float(np.abs(np.diff(batches._refocus(picture, rng))).mean())

    picture = random_crop(bank[2], MICROGRAPHS, 64, of(1))
    plain = float(np.abs(np.diff(picture)).mean())
    found = np.array([roughness(seed) for seed in range(100)]) / plain
    assert 15 < np.count_nonzero(found < 0.999) < 45
    assert 2 < np.count_nonzero(found > 1.001) < 20
    assert np.count_nonzero(found == 1) > 40


def test_kinds_come_in_their_shares(bank: Bank) -> None:
    rng = of(0)
    drawn = np.bincount([random_kind(bank, rng) for _ in range(2000)], minlength=3) / 2000
    np.testing.assert_allclose(drawn, SHARES, atol=0.05)
    assert sum(SHARES) == pytest.approx(1)


def test_cameras_are_unbiased_and_noisy() -> None:
    blurred = np.full((64, 64), 0.4, np.float32)
    errors = [observe(blurred, MICROGRAPHS, of(seed)).plane - blurred for seed in range(30)]
    assert all(error.dtype == np.float32 for error in errors)
    spreads = [float(error.std()) for error in errors]
    # From a few photons to thousands.
    assert max(spreads) > 5 * min(spreads)
    for error, spread in zip(errors, spreads, strict=True):
        assert abs(float(error.mean())) < 6 * spread / 64 + 1 / 255


def test_pictures_are_rounded_as_files_are() -> None:
    blurred = of(0).random((32, 32)).astype(np.float32)
    seen = [observe(blurred, 0, of(seed)).plane for seed in range(30)]
    levels = [255 * image for image in seen]
    rounded = sum(bool(np.allclose(x, np.rint(x), atol=1e-3)) for x in levels)
    assert 10 < rounded < 30
    exact = sum(np.array_equal(image, blurred) for image in seen)
    assert 0 < exact < 20
