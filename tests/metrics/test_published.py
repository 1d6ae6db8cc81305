"""Scores against published numbers and against an independent implementation."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_blindsr.errors import InputError
from napari_blindsr.metrics import (
    SCORES,
    Metric,
    MetricInputs,
    kernel_error,
    kernel_psnr,
    luma,
    psnr_y,
    ssim_y,
    to_8bit,
)
from napari_blindsr.physics.simulate import gaussian_kernel

needs_data = pytest.mark.skipif(
    "BLINDSR_DATA" not in os.environ, reason="BLINDSR_DATA does not name the reference data"
)


def golden() -> dict[str, np.ndarray]:
    with np.load(Path(os.environ["BLINDSR_DATA"]) / "golden.npz") as archive:
        return {key: archive[key] for key in archive if key.startswith(("eval_", "gaussian_"))}


def pair() -> tuple[np.ndarray, np.ndarray]:
    truth = data.chelsea()[60:140, 100:190]
    noise = np.random.default_rng(0).normal(0, 9, truth.shape)
    return np.clip(np.rint(truth + noise), 0, 255).astype(np.uint8), truth


@needs_data
def test_published_scores_are_reproduced() -> None:
    reference = golden()
    estimate, truth = reference["eval_sr_u8"], reference["eval_hr_u8"]
    assert psnr_y(estimate, truth, crop=4) == pytest.approx(float(reference["eval_psnr_y"]))
    assert ssim_y(estimate, truth, crop=4) == pytest.approx(float(reference["eval_ssim_y"]))
    kernels = reference["gaussian_dataset_x4"]
    assert kernel_psnr(kernels[0], kernels[1]) == pytest.approx(
        float(reference["eval_kernel_psnr"])
    )


@pytest.mark.parametrize("crop", [0, 4])
@pytest.mark.parametrize("grey", [False, True])
def test_scores_agree_with_scikit_image(crop: int, grey: bool) -> None:
    estimate, truth = pair()
    if grey:
        estimate, truth = estimate[..., 1], truth[..., 1]
        planes = [estimate.astype(float), truth.astype(float)]
    else:
        planes = [rgb2ycbcr(estimate)[..., 0], rgb2ycbcr(truth)[..., 0]]
    inner = [plane[crop : len(plane) - crop, crop : plane.shape[1] - crop] for plane in planes]
    expected = peak_signal_noise_ratio(inner[1], inner[0], data_range=255)
    assert psnr_y(estimate, truth, crop=crop) == pytest.approx(expected)
    _, local = structural_similarity(
        *inner,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    # Only where the window of 11 pixels fits in.
    assert ssim_y(estimate, truth, crop=crop) == pytest.approx(local[5:-5, 5:-5].mean())


def test_floats_are_rounded_to_8_bit_and_clipped() -> None:
    values = np.array([[-0.2, 0.0, 0.5, 1.0, 7.0]])
    assert to_8bit(values).tolist() == [[0, 0, 128, 255, 255]]
    assert to_8bit(values).dtype == np.uint8
    estimate, truth = pair()
    assert psnr_y(estimate / 255, truth / 255) == psnr_y(estimate, truth)


def test_luma_of_grey_is_grey() -> None:
    _, truth = pair()
    assert np.array_equal(luma(truth[..., :1]), truth[..., 0])
    # Black and white of BT.601.
    assert luma(np.zeros((1, 1, 3)))[0, 0] == 16
    assert luma(np.ones((1, 1, 3)))[0, 0] == pytest.approx(235)


def test_equal_images_have_the_best_scores() -> None:
    _, truth = pair()
    assert psnr_y(truth, truth) == math.inf
    assert ssim_y(truth, truth) == pytest.approx(1)


@pytest.mark.parametrize("metric", SCORES, ids=lambda metric: metric.name)
def test_every_score_ranks_a_better_estimate_higher(metric: Metric) -> None:
    estimate, truth = pair()
    good = np.rint(0.9 * truth + 0.1 * estimate).astype(np.uint8)
    kernels = [gaussian_kernel((7, width), 0.4, scale=4) for width in (3.0, 3.2, 5.0)]
    scores = [
        metric(
            MetricInputs(
                image=image, reference=truth, kernel=kernel, true_kernel=kernels[0], crop=2
            )
        )
        for image, kernel in ((good, kernels[1]), (estimate, kernels[2]))
    ]
    assert all(isinstance(score, float) for score in scores)
    assert (scores[0] > scores[1]) == metric.higher_is_better


def test_kernel_error_leaves_the_position_out() -> None:
    camera = gaussian_kernel((6, 3), 0.7, scale=3, size=21)
    benchmark = gaussian_kernel((6, 3), 0.7, scale=3, size=21, geometry="benchmark")
    assert kernel_error(camera, camera) == 0
    assert kernel_error(benchmark, camera) < 0.01
    assert kernel_error(np.pad(benchmark, 2), camera) < 0.01
    # An error of the shape remains, and scales as the norm does.
    assert kernel_error(1.25 * camera, camera) == pytest.approx(0.25, rel=1e-6)


def test_kernel_error_tells_orientation() -> None:
    kernel = gaussian_kernel((8, 2), 0.5, scale=4)
    assert kernel_error(kernel[:, ::-1], kernel) > 0.3


@pytest.mark.parametrize(
    ("estimate", "truth", "message"),
    [
        (np.zeros((20, 20)), np.zeros((20, 21)), "expected the same"),
        (np.zeros((20, 20), int), np.zeros((20, 20), int), "expected uint8, or floats"),
        (np.zeros((20, 20, 2)), np.zeros((20, 20, 2)), r"expected \(H, W\)"),
        (np.zeros((8, 8)), np.zeros((8, 8)), "cannot crop 4"),
    ],
)
def test_bad_images_are_refused(estimate: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        psnr_y(estimate, truth, crop=4)


def test_bad_kernels_and_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="too small for SSIM"):
        ssim_y(np.zeros((12, 12)), np.zeros((12, 12)), crop=1)
    with pytest.raises(InputError, match="expected a finite"):
        kernel_error(np.zeros((5, 5)), np.ones((5, 5)))
    with pytest.raises(InputError, match="expected the same"):
        kernel_psnr(np.ones((5, 5)), np.ones((7, 7)))
