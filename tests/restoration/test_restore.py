from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_blindsr import iterate, restore
from napari_blindsr.errors import (
    BlindSRError,
    DeviceError,
    EngineError,
    InputError,
    OutOfMemoryError,
    SettingsError,
)
from napari_blindsr.methods import Schedule
from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.restoration import setup
from napari_blindsr.restoration.restore import make_settings
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.blind import alternating
from napari_blindsr.solvers.nonblind import closed_form, restorers

QUICK = Schedule(image_steps=6, warmup_steps=2, structural_steps=3, channels=8)

WAYS = ("fast", "mlmc")
"""One method that estimates the blur at once, and one that optimises."""


def picture(shape: tuple[int, ...] = (20, 24), dtype: Any = np.uint8) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    return rng.integers(20, 200, shape).astype(dtype)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
@pytest.mark.parametrize("border", ["extend", "circular"])
def test_result_of_every_scale_geometry_and_border(scale: int, geometry: Any, border: Any) -> None:
    height, width = (20, 24) if scale > 1 else (36, 40)
    result = restore(
        picture((height, width)),
        scale=scale,
        geometry=geometry,
        border=border,
        method="mlmc",
        schedule=QUICK,
        device="cpu",
    )
    assert result.image.shape == (height * scale, width * scale)
    assert result.image.dtype == np.float32
    assert np.isfinite(result.image).all()
    size = Gaussian().size(scale)
    assert result.kernel.shape == (size, size)
    assert result.kernel.sum() == pytest.approx(1, abs=1e-5)
    delta = (scale - 1) / 2 * (1 if geometry == "camera" else -1)
    assert result.offset == delta
    assert result.kernel_center == (size // 2 + delta,) * 2
    assert result.reason is StopReason.COMPLETED
    assert result.trace.shape == (6,)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [((20, 24, 3), None, (40, 48, 3)), ((5, 20, 24), "CYX", (5, 40, 48))],
)
@pytest.mark.parametrize("method", WAYS)
def test_result_has_the_axes_of_the_input(
    shape: tuple[int, ...], axes: str | None, expected: tuple[int, ...], method: str
) -> None:
    result = restore(picture(shape), scale=2, axes=axes, method=method, schedule=QUICK)
    assert result.image.shape == expected


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 1), (np.uint16, 200), (np.float64, 1e-3)])
@pytest.mark.parametrize("method", WAYS)
def test_intensities_come_back_in_the_unit_of_the_input(
    dtype: Any, factor: float, method: str
) -> None:
    image = (picture() * factor).astype(dtype)
    result = restore(image, scale=2, method=method, schedule=Schedule(channels=8).scaled(60))
    assert result.image.mean() == pytest.approx(image.mean(), rel=0.2)


def test_a_result_can_exceed_what_was_measured() -> None:
    # A point blurred by a wide kernel is far brighter than its image.
    image = np.full((24, 24), 10.0)
    image[10:14, 10:14] = 100
    kernel = np.ones((9, 9))
    result = restore(
        image,
        scale=2,
        kernel=kernel,
        method="mlmc",
        schedule=Schedule(channels=16).scaled(150),
        precision="float32",
    )
    assert result.image.max() > 120
    bounded = restore(image, scale=2, kernel=kernel, method="mlmc", schedule=QUICK, bounded=True)
    assert bounded.image.max() <= 100.001


@pytest.mark.parametrize("method", WAYS)
def test_a_known_kernel_is_held(tmp_path: Path, method: str) -> None:
    kernel = np.zeros((11, 11), dtype=np.float32)
    kernel[4:8, 4:8] = 1 / 16
    file = tmp_path / "kernel.npy"
    np.save(file, kernel)
    for source in (kernel, file, str(file)):
        result = restore(picture(), scale=2, kernel=source, method=method, schedule=QUICK)
        np.testing.assert_allclose(result.kernel, kernel, atol=1e-6)
        assert result.settings.kernel == "known"


@pytest.mark.parametrize("method", WAYS)
def test_a_known_kernel_out_of_place_is_moved_with_the_image(method: str) -> None:
    kernel = np.zeros((11, 11))
    kernel[4:7, 4:7] = 1 / 9
    result = restore(picture(), scale=2, kernel=kernel, method=method, schedule=QUICK)
    side = len(result.kernel)
    assert side > 11
    assert result.kernel_center == (side // 2 + 0.5,) * 2
    rows = result.kernel.sum(axis=1) @ np.arange(side)
    assert rows == pytest.approx(side // 2 + 0.5, abs=0.1)


def test_the_reference_schedule_leaves_a_kernel_where_it_is() -> None:
    kernel = np.zeros((11, 11))
    kernel[4:7, 4:7] = 1 / 9
    kept = restore(picture(), scale=2, kernel=kernel, method="mlmc", schedule="reference", steps=6)
    np.testing.assert_allclose(kept.kernel, kernel, atol=1e-6)


def test_progress_and_stop() -> None:
    reports: list[Progress] = []

    def watch(report: Progress) -> bool:
        reports.append(report)
        return report.step == 4

    result = restore(picture(), scale=2, method="mlmc", schedule=QUICK, progress=watch)
    assert result.reason is StopReason.STOPPED
    assert result.trace.shape == (4,)
    assert [report.step for report in reports] == [0, 1, 2, 3, 4]
    assert reports[0].loss is None
    assert reports[-1].loss == pytest.approx(result.trace[-1])


@pytest.mark.parametrize("method", WAYS)
def test_the_report_repeats_the_run(method: str) -> None:
    first = restore(
        picture(),
        scale=3,
        method=method,
        kernel=Gaussian(variance=(2.0, 5.0)),
        schedule=QUICK,
        seed=4,
    )
    record = json.loads(json.dumps(first.report(), allow_nan=False))
    assert {"method", "scale", "seed", "seconds", "device", "dtype", "steps", "reason"} <= set(
        record
    )
    assert {"losses", "kernel_center", "versions"} <= set(record)
    run = iterate(picture(), Settings.from_json(record["settings"]))
    try:
        while True:
            next(run)
    except StopIteration as end:
        np.testing.assert_allclose(end.value.image, first.image, rtol=0, atol=0)


@pytest.mark.parametrize("method", WAYS)
def test_the_input_is_left_alone(method: str) -> None:
    image = picture()
    before = image.copy()
    restore(image, scale=2, method=method, schedule=QUICK)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"scale": 0}, SettingsError, "scale is 0"),
        ({"device": "abacus"}, DeviceError, "device is 'abacus'"),
        ({"kernel": "no such file"}, InputError, "'no such file'"),
        ({"kernel": np.ones((2, 3))}, InputError, "2 × 3"),
        ({"image": picture((3, 24))}, InputError, "3 × 24 pixels"),
        ({"image": picture((20, 24, 4))}, InputError, "20 × 24 × 4"),
    ],
)
@pytest.mark.parametrize("method", WAYS)
def test_bad_input_is_named_before_any_work(
    change: dict[str, Any],
    kind: type[BlindSRError],
    words: str,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_work(*_: object, **_options: object) -> None:
        pytest.fail("work began")

    monkeypatch.setattr(alternating.AlternatingSolver, "init", no_work)
    monkeypatch.setattr(closed_form.KnownKernelSolver, "init", no_work)
    monkeypatch.setattr(setup, "estimate_blur", no_work)
    reports: list[Progress] = []
    values: dict[str, Any] = {"image": picture(), "scale": 2, "method": method, **change}
    with pytest.raises(kind) as error:
        restore(**values, progress=reports.append)
    assert reports == []
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("thrown", "kind"),
    [
        (RuntimeError("mat1 and mat2\nbacktrace"), EngineError),
        (torch.cuda.OutOfMemoryError("full"), OutOfMemoryError),
    ],
)
@pytest.mark.parametrize("method", WAYS)
def test_errors_of_the_computation_are_ours(
    thrown: Exception, kind: type[EngineError], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise thrown

    monkeypatch.setattr(alternating, "gradient_prior", fail)
    monkeypatch.setattr(restorers, "unfolded", fail)
    with pytest.raises(kind) as error:
        restore(picture(), scale=2, method=method, schedule=QUICK)
    assert not isinstance(error.value, RuntimeError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quallity": "fast"}, "no option 'quallity'; did you mean 'quality'?"),
        ({"zzz": 1}, "no option 'zzz'; expected one of ['scale', 'method',"),
    ],
)
def test_unknown_options_are_named_with_those_that_are_near(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError) as error:
        restore(picture(), scale=2, **options)
    assert words in str(error.value)


def test_options_replace_those_of_given_settings() -> None:
    options: dict[str, Any] = {"scale": 2, "finish": "measurement", "seed": 3}
    first = restore(picture(), **options)
    again = restore(picture(), first.settings)
    np.testing.assert_array_equal(again.image, first.image)
    assert again.settings == first.settings
    finer = restore(picture(), first.settings, scale=3, kernel=np.ones((5, 5)))
    assert finer.settings == Settings(scale=3, finish="measurement", seed=3, kernel="known")
    with pytest.raises(InputError, match="known_kernel is missing"):
        restore(picture(), finer.settings)


@pytest.mark.parametrize("method", WAYS)
def test_threads_are_put_back_after_a_run_and_after_a_closed_one(method: str) -> None:
    before = torch.get_num_threads()
    settings, _ = make_settings(scale=2, method=method, schedule=QUICK, threads=before + 1)
    run = iterate(picture(), settings)
    next(run)
    assert torch.get_num_threads() == before + 1
    run.close()
    assert torch.get_num_threads() == before
