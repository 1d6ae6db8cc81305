"""The demonstration, with few steps where it is run at all."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_blindsr import weights
from napari_blindsr.cli import app
from napari_blindsr.evaluation import demo
from napari_blindsr.evaluation.demo import (
    DemoCase,
    demo_case,
    demo_sample,
    demo_scores,
    demo_settings,
    side_by_side,
)
from napari_blindsr.evaluation.samples import Sample
from napari_blindsr.methods import METHODS
from napari_blindsr.metrics import SCORES, psnr_y
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.progress import drained
from napari_blindsr.restoration import restore
from napari_blindsr.restoration.result import Result
from napari_blindsr.settings import Settings
from napari_blindsr.weights import USRNET_VARIABLE

SHORT = dataclasses.replace(demo.SCHEDULE, image_steps=2, warmup_steps=3, channels=8)


def restored(sample: Sample, settings: Settings) -> Result:
    return drained(restore.iterate(sample.image, settings))


@pytest.fixture(scope="module")
def sample() -> Sample:
    return demo_sample()


@pytest.fixture(scope="module", params=["fast", "mlmc"])
def result(request: pytest.FixtureRequest, sample: Sample) -> Result:
    settings = demo_settings(DemoCase(sample=sample), request.param)
    return restored(sample, dataclasses.replace(settings, schedule=SHORT))


def test_sample_is_small_and_hard(sample: Sample) -> None:
    assert sample.truth.shape == (128, 128, 3)
    plain = interpolate(sample.image, sample.scale) / 255
    # Interpolation leaves room for improvement: sharp and blurred differ.
    assert psnr_y(plain, sample.truth, crop=4) < 28


def test_the_default_convinces(sample: Sample) -> None:
    case = demo_case(METHODS[0])
    result = restored(sample, demo_settings(case))
    assert result.settings.method == "fast"
    assert result.notes == ()
    assert result.blur is not None
    scores = {score.metric.name: score for score in demo_scores(case, result)}
    assert scores["psnr_y"].interpolation is not None
    assert scores["psnr_y"].result > scores["psnr_y"].interpolation + 1
    assert scores["kernel_error"].result < 0.35
    # The truth lies within the estimate of the blur, give or take.
    for (low, high), variance in zip(result.blur.intervals, (8.0, 4.0), strict=True):
        assert 0.8 * low < variance**0.5 < 1.25 * high


def test_scores_compare_with_interpolation_and_truth(sample: Sample, result: Result) -> None:
    scores = demo_scores(DemoCase(sample=sample), result)
    assert [score.metric for score in scores] == list(SCORES)
    for score in scores:
        assert np.isfinite(score.result)
        assert (score.interpolation is None) == (score.metric.subject == "kernel")
    truth = dataclasses.replace(result, image=sample.truth.astype(np.float32), kernel=sample.kernel)
    perfect = {
        score.metric.name: score.result for score in demo_scores(DemoCase(sample=sample), truth)
    }
    assert perfect["ssim_y"] == pytest.approx(1)
    assert perfect["kernel_error"] == 0


def test_picture_shows_everything(sample: Sample, result: Result) -> None:
    picture = side_by_side(DemoCase(sample=sample), result)
    assert picture.dtype == np.uint8
    panel, gap, label = demo.PANEL, demo.GAP, demo.LABEL
    left = gap + 3 * (panel + gap)
    shown = picture[gap + label : gap + label + panel, left : left + panel]
    # Each pixel of the truth is a square of two.
    np.testing.assert_array_equal(shown[::2, ::2], sample.truth)
    # Labels are written above the panels.
    assert (picture[gap : gap + label] < 128).any()


def test_command_prints_scores_and_writes_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SCHEDULE", SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["napari-blindsr", "demo", "--no-viewer", "--output", "out"])
    # A second time as well: the picture is replaced.
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            app.main()
        captured = capfd.readouterr()
        assert end.value.code == 0, captured.err
        for metric in SCORES:
            assert metric.label in captured.out
        assert "interpolation" in captured.out
        with Image.open(tmp_path / "out" / "comparison.png") as picture:
            assert picture.mode == "RGB"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.png"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_demonstration(
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(USRNET_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(weights, "USRNET_ADDRESS", "http://127.0.0.1:1/usrnet_tiny.pth")
    monkeypatch.setattr(demo, "SCHEDULE", SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["napari-blindsr", "demo", "--no-viewer", "--method", method])
    with pytest.raises(SystemExit) as end:
        app.main()
    captured = capfd.readouterr()
    assert end.value.code == 0, captured.err
    assert ("lacks 8% of its pixels" in captured.err) == method.startswith("ddsr")
    # Without weights the first stage is shown, and why.
    assert ("note: not finished with USRNet" in captured.err) == method.endswith("usrnet")
    assert (tmp_path / "napari-blindsr-demo" / "comparison.png").exists()


def test_a_result_with_a_kernel_of_another_size_is_compared(sample: Sample) -> None:
    case, settings = DemoCase(sample=sample), demo_settings(DemoCase(sample=sample))
    result = restored(sample, settings)
    wide = dataclasses.replace(result, kernel=np.pad(sample.kernel, 3))
    narrow = dataclasses.replace(result, kernel=sample.kernel[2:-2, 2:-2])
    errors = [demo_scores(case, changed)[-1] for changed in (wide, narrow)]
    assert [score.metric.name for score in errors] == ["kernel_error", "kernel_error"]
    assert errors[0].result == 0
    assert 0 < errors[1].result < 0.3
    # Both kernels are shown at the same size, here the same kernel twice.
    left = demo.GAP + 4 * (demo.PANEL + demo.GAP)
    height = (demo.PANEL + demo.LABEL) // 2
    column = side_by_side(case, wide)[demo.GAP :, left : left + height - demo.LABEL]
    upper, lower = (column[top + demo.LABEL : top + height] for top in (0, height))
    assert upper.max() > 200
    np.testing.assert_array_equal(upper, lower)


def test_the_sample_of_ddsr_is_worse_but_its_truth_is_not() -> None:
    plain, hard = demo_case("mlmc"), demo_case("ddsr")
    assert plain.mask is None
    assert plain.notes == ()
    assert hard.mask is not None
    assert 0.05 < hard.mask.mean() < 0.2
    np.testing.assert_array_equal(hard.sample.truth, plain.sample.truth)
    measured = ~hard.mask
    ratio = hard.sample.image[measured].mean() / plain.sample.image[measured].mean()
    assert ratio == pytest.approx(demo.GAIN, abs=0.01)
    assert not hard.sample.image[hard.mask].any()
    noise = hard.sample.image[measured] - demo.GAIN * plain.sample.image[measured]
    assert noise.std() == pytest.approx(hard.noise, rel=0.05)
    # The baseline is a fair one: holes filled in, at normal brightness.
    scores = [
        psnr_y(np.clip(case.plain / 255, 0, 1), case.sample.truth, crop=4) for case in (plain, hard)
    ]
    assert scores[0] - 1 < scores[1] < scores[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "magic"], "method is 'magic'"),
        (["--output", "none/out"], "cannot make the folder"),
        (["--output", "file"], "cannot make the folder"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["napari-blindsr", "demo", *arguments])
    with pytest.raises(SystemExit) as end:
        app.main()
    errors = capfd.readouterr().err
    assert end.value.code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
