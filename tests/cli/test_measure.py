"""``napari-blindsr measure``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_blindsr.evaluation.samples import Sample, photograph
from napari_blindsr.metrics import METRICS, psnr_y
from napari_blindsr.physics.simulate import interpolate
from tests.cli.command_line import call, check_refused, run_here


@pytest.fixture(scope="module")
def sample() -> Sample:
    return photograph()


@pytest.fixture
def folder(tmp_path: Path, sample: Sample) -> Path:
    image = interpolate(sample.image, sample.scale)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            (image + rng.normal(0, 6, image.shape)).astype(np.float32),
            imagej=True,
            resolution=(10, 10),
            metadata={"unit": "um"},
        )
        np.save(tmp_path / f"{name}_source.npy", sample.image + rng.normal(0, 2, (64, 64)))
    tifffile.imwrite(
        tmp_path / "oblong.tif",
        image,
        imagej=True,
        resolution=(10, 5),
        metadata={"unit": "um"},
    )
    Image.fromarray(sample.truth).save(tmp_path / "truth.png")
    np.save(tmp_path / "k.npy", sample.kernel)
    return tmp_path


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


ALL = (
    "measure a.tif --reference truth.png --source a_source.npy --kernel k.npy --true-kernel k.npy "
    "--scale 4 --second b.tif --second-source b_source.npy --na 0.8 --wavelength 520 --crop 4"
)


def test_everything_in_a_process_of_its_own(folder: Path, sample: Sample) -> None:
    done = call(f"{ALL} --csv m.csv", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "wrote m.csv\n"
    found = rows(folder / "m.csv")
    assert list(found) == [metric.name for metric in METRICS]
    for metric in METRICS:
        assert metric.label in done.stdout
        assert found[metric.name]["definition"] == metric.definition
    image = np.clip(np.rint(tifffile.imread(folder / "a.tif")), 0, 255).astype(np.uint8)
    assert float(found["psnr_y"]["value"]) == psnr_y(image, sample.truth, crop=4)
    # Variances of 8 and 4 px², pixels of 100 nm.
    assert float(found["fwhm_longer"]["value_nm"]) == pytest.approx(235.5 * 8**0.5, rel=0.03)
    assert float(found["diffraction_limit"]["value_nm"]) == pytest.approx(0.51 * 520 / 0.8)


def test_an_image_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = "measure a.tif --pixel-size 50 --csv m.csv"
    assert run_here(arguments, monkeypatch, folder) == 0
    captured = capfd.readouterr()
    assert "resolution, decorrelation" in captured.out
    # What restores sharpness is not presented as the truth.
    assert "not truth" in captured.out
    assert list(rows(folder / "m.csv")) == ["resolution_decorrelation"]
    only = rows(folder / "m.csv")["resolution_decorrelation"]
    assert float(only["value_nm"]) == pytest.approx(50 * float(only["value"]))
    check_refused(arguments, "exists already", folder, monkeypatch, capfd)
    assert run_here(f"{arguments} --force --quiet", monkeypatch, folder) == 0
    assert capfd.readouterr().err == ""


def test_pixels_that_are_not_square_are_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here("measure oblong.tif", monkeypatch, folder) == 0
    captured = capfd.readouterr()
    assert "note: pixels of 200 × 100 nm are not square" in captured.err
    assert "nm " not in captured.out


def test_what_cannot_be_measured_has_its_reason_in_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "small.npy", np.random.default_rng(0).random((40, 40)))
    assert run_here("measure small.npy --second small.npy", monkeypatch, folder) == 0
    # Long texts take several lines.
    assert "the resolution is finer than 2 pixels" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.tif", "there is no such file"),
        ("a.tif --csv m.txt", "expected .csv"),
        ("a.tif --reference a_source.npy", "the reference has shape (64, 64)"),
        ("a.tif --source a_source.npy --scale 2", "--scale is 2, but a.tif has 4 times"),
        ("a.tif --scale 4", "--source, which is not given"),
        ("a.tif --source a_source.npy --scale 9", "--scale is 9; expected 1 to 8"),
        ("a.tif --na 1.2", "--na is given without --wavelength"),
        ("a.tif --wavelength 500", "--wavelength is given without --na"),
        ("a.tif --second-source b_source.npy", "without the first one"),
        ("a.tif --kernel a.txt", "extension '.txt'"),
        ("a.tif --pixel-size 0", "pixel_size is 0"),
        ("a.tif --criterion half", "--criterion"),
    ],
)
def test_bad_input_is_refused(
    arguments: str,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check_refused(f"measure {arguments}", message, folder, monkeypatch, capfd)
