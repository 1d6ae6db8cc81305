"""``napari-blindsr kernel``: the blur of one image."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from napari_blindsr.cli.kernel import (
    Reader,
    axes_in_micrometres,
    report_of,
    summary,
    width_table,
)
from napari_blindsr.cli.options import FamilyOptions, choose_family
from napari_blindsr.errors import SettingsError
from napari_blindsr.estimation.estimate import BlurEstimate, estimate_kernel
from napari_blindsr.estimation.estimate import Reader as LibraryReader
from napari_blindsr.evaluation.samples import fluorescence
from napari_blindsr.images.files import read_image
from napari_blindsr.images.metadata import PixelSize
from napari_blindsr.physics.kernels import Disk, Motion
from napari_blindsr.physics.kernels.base import FWHM
from tests.cli.command_line import call, check_refused, run_here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = fluorescence().image
    tifffile.imwrite(
        tmp_path / "in.tif",
        image,
        imagej=True,
        resolution=(4, 2),
        metadata={"unit": "um"},
    )
    Image.fromarray(image).save(tmp_path / "in.png")
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[20:30, 12:40] = 9
    Image.fromarray(mask).save(tmp_path / "mask.png")
    scratched = np.where(mask > 0, np.uint16(65535), image)
    tifffile.imwrite(tmp_path / "scratched.tif", scratched)
    return tmp_path


def estimate(**changes: Any) -> BlurEstimate:
    """Return an estimate with round numbers: a blur along the columns, ×4."""
    values: dict[str, Any] = {
        "kernel": np.full((5, 5), 0.04, dtype=np.float32),
        "family": "gaussian",
        "widths": (4.0, 2.0),
        "intervals": ((3.0, 6.0), (1.5, 3.0)),
        "angle": 0.0,
        "families": {"gaussian": 0.2, "airy": 0.8},
        "found": True,
        "scale": 4,
        "reader": "network",
    }
    return BlurEstimate(**{**values, **changes})


def cells(table: Any) -> list[list[str]]:
    """Return the texts of a table, row by row."""
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_in_a_process_of_its_own(folder: Path) -> None:
    done = call(
        "kernel in.tif --scale 4 --kernel-out k.npy --report r.json --device cpu", folder=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "wrote k.npy, r.json\n"
    record = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    for words in (
        "Blur of in.tif, scale 4",
        "LR pixels",
        "fine pixels",
        "µm",
        "FWHM",
        "90 % intervals",
        "neural network",
        f"gaussian {round(100 * record['families']['gaussian'])} %",
    ):
        assert words in done.stdout
    first, second = (f"{width:.2f} (" for width in record["widths"])
    assert first in done.stdout
    assert second in done.stdout
    kernel = np.load(folder / "k.npy")
    assert kernel.dtype == np.float32
    direct = estimate_kernel(read_image(folder / "in.tif").array, scale=4, device="cpu")
    np.testing.assert_allclose(kernel, direct.kernel, atol=1e-4)
    assert record["widths"] == pytest.approx(direct.widths, rel=1e-2)
    # Pixels are 0.25 µm wide and 0.5 µm high: the size lies between.
    for fine, metric in zip(record["widths"], record["widths_um"], strict=True):
        assert 0.25 / 4 <= metric / fine <= 0.5 / 4
    assert {"intervals", "intervals_um", "angle", "found", "seconds", "versions"} <= record.keys()
    assert record["settings"]["kernel"] == {"name": "auto", "variance": None}


def test_the_kernel_it_writes_is_one_that_restore_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = "kernel in.png -s 2 --kernel airy --na 0.5 --emission 520 --pixel-size 300 "
    found += "--kernel-out k.tif --quiet"
    assert run_here(found, monkeypatch, folder) == 0
    assert capfd.readouterr().err == ""
    taken = (
        "restore in.png -o out.tif -s 2 --kernel k.tif --finish measurement --kernel-out used.npy "
        "--device cpu --quiet"
    )
    assert run_here(taken, monkeypatch, folder) == 0
    assert read_image(folder / "out.tif").array.shape == (128, 128)
    written = tifffile.imread(folder / "k.tif")
    margin = (len(np.load(folder / "used.npy")) - len(written)) // 2
    np.testing.assert_allclose(
        np.load(folder / "used.npy"), np.pad(written, max(margin, 0)), atol=1e-3
    )


def test_a_mask_leaves_out_what_it_covers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("in", "scratched"):
        arguments = f"kernel {name}.tif -s 2 --mask mask.png --report {name}.json --device cpu -q"
        assert run_here(arguments, monkeypatch, folder) == 0
    assert run_here("kernel scratched.tif -s 2 --report bare.json -q", monkeypatch, folder) == 0
    assert capfd.readouterr().err == ""
    clean, scratched, bare = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("in", "scratched", "bare")
    )
    assert scratched["widths"] == clean["widths"]
    assert bare["widths"] != clean["widths"]
    assert (scratched["settings"]["masked"], bare["settings"]["masked"]) == (True, False)
    # That file tells no pixel size.
    assert scratched["widths_um"] is None
    assert clean["widths_um"] is not None


def test_the_spectrum_knows_no_uncertainty(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "kernel in.tif -s 4 --reader spectrum --border circular --geometry benchmark "
        "--report r.json --kernel-out k.png --device cpu"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    said = capfd.readouterr().out
    assert "power spectrum" in said
    assert "network" not in said
    assert "no intervals are known" in said
    assert re.search(r"families +unknown", said)
    record = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert record["reader"] == "spectrum"
    assert record["intervals"] is None
    assert record["intervals_um"] is None
    assert len(record["widths_um"]) == 2
    assert record["settings"]["geometry"] == "benchmark"
    assert record["settings"]["border"] == "circular"
    assert read_image(folder / "k.png").array.max() == 255


def test_a_sharp_image_has_no_blur(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "sharp.npy", data.coins()[100:228, 100:228])
    assert run_here("kernel sharp.npy -s 1 --device cpu", monkeypatch, folder) == 0
    assert "no blur found" in capfd.readouterr().out
    assert run_here("kernel in.tif -s 4 --device cpu", monkeypatch, folder) == 0
    assert "no blur found" not in capfd.readouterr().out


def test_a_folder_of_kernels_is_a_family(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shakes").mkdir()
    np.save(folder / "shakes" / "a.npy", np.eye(9))
    np.save(folder / "shakes" / "b.npy", np.ones((1, 1)))
    arguments = "kernel in.tif -s 4 --kernel shakes --kernel-out k.npy --report r.json -q"
    assert run_here(arguments, monkeypatch, folder) == 0
    record = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert record["settings"]["kernel"]["name"] == "motion"
    kernel = np.load(folder / "k.npy")
    assert kernel.sum() == pytest.approx(1, abs=1e-4)


def test_existing_files_are_replaced_by_force_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "k.npy").write_bytes(b"old")
    arguments = "kernel in.tif -s 2 --kernel-out k.npy -q"
    check_refused(arguments, "exists already; --force", folder, monkeypatch, capfd)
    assert run_here(f"{arguments} --force", monkeypatch, folder) == 0
    assert np.load(folder / "k.npy").ndim == 2


def test_widths_in_every_unit() -> None:
    rows = cells(width_table(estimate(), PixelSize(y=1000, x=500, unit="nm")))
    assert rows == [
        ["longer", "SD", "1.00 (0.75–1.50)", "4.00 (3.00–6.00)", "0.500 (0.375–0.750)"],
        ["", "FWHM", "2.35 (1.77–3.53)", "9.42 (7.06–14.13)", "1.18 (0.88–1.77)"],
        ["shorter", "SD", "0.500 (0.375–0.750)", "2.00 (1.50–3.00)", "0.500 (0.375–0.750)"],
        ["", "FWHM", "1.18 (0.88–1.77)", "4.71 (3.53–7.06)", "1.18 (0.88–1.77)"],
    ]
    assert pytest.approx(2.354820045) == FWHM
    assert [row[:2] for row in cells(width_table(estimate(), None))] == [row[:2] for row in rows]
    assert len(width_table(estimate(), None).columns) == len(rows[0]) - 1


@pytest.mark.parametrize(
    ("size", "angle", "expected"),
    [
        (None, 0.0, None),
        (PixelSize(y=2, x=1, unit="frames"), 0.0, None),
        (PixelSize(y=2, x=1, unit="µm"), 0.0, (0.25, 0.5)),
        (PixelSize(y=2, x=1, unit="µm"), np.pi / 2, (0.5, 0.25)),
        (PixelSize(y=0.004, x=0.003, unit="mm"), np.arctan2(3, 4), (0.84853, 0.91788)),
        (PixelSize(y=1, x=1, unit="inch"), 0.7, (6350, 6350)),
    ],
)
def test_micrometres_along_the_axes(
    size: PixelSize | None, angle: float, expected: tuple[float, float] | None
) -> None:
    found = axes_in_micrometres(estimate(angle=angle), size)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-4))


def test_summary() -> None:
    shown = dict(cells(summary(estimate(angle=np.pi / 6))))
    assert shown["blur"] == "found"
    assert shown["kernel"] == "gaussian, 5 × 5 fine pixels"
    assert shown["angle"].startswith("30°")
    assert shown["families"] == "airy 80 %, gaussian 20 %"
    assert "neural network" in shown["estimated by"]
    assert dict(cells(summary(estimate(found=False))))["blur"].startswith("no blur found")


def test_the_report_has_micrometres_where_they_are_known() -> None:
    size = PixelSize(y=1, x=1, unit="µm")
    assert report_of(estimate(), None)["widths_um"] is None
    record = report_of(estimate(), size)
    assert record["widths_um"] == [1.0, 0.5]
    assert record["intervals_um"] == [[0.75, 1.5], [0.375, 0.75]]
    unknown = estimate(intervals=((np.nan, np.nan), (np.nan, np.nan)))
    assert report_of(unknown, size)["intervals_um"] is None


def test_the_readers_are_those_of_the_library() -> None:
    assert get_args(Reader) == get_args(LibraryReader)


def test_families_are_chosen_as_for_restore(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(5))
    assert choose_family("disk", FamilyOptions(radius=(1, 3))) == Disk(radius=(1, 3))
    assert isinstance(choose_family(str(tmp_path), FamilyOptions()), Motion)
    with pytest.raises(SettingsError, match=r"a file with a known kernel; expected one of"):
        choose_family(str(tmp_path / "a.npy"), FamilyOptions())


BAD = [
    ("in.tif", "--scale"),
    ("none.tif -s 2", "none.tif: there is no such file"),
    ("text.png -s 2", "no PNG image"),
    ("in.tif -s 0", "scale is 0; expected a whole number from 1 to 8"),
    ("in.tif -s 9", "scale is 9"),
    ("in.tif -s two", "'two'"),
    ("in.tif -s 2 --seed -1", "seed is -1"),
    ("in.tif -s 2 --kernel box", "kernel is 'box'; expected one of"),
    ("in.tif -s 2 --kernel psf.npy", "'psf.npy', a file with a known kernel; expected one of"),
    ("in.tif -s 2 --kernel psf.npy --sigma 1 2", "a file with a known kernel"),
    ("in.tif -s 2 --kernel empty", "the folder empty holds no kernels"),
    ("in.tif -s 2 --kernel disk --sigma 1 2", "--sigma is a parameter of --kernel gaussian"),
    ("in.tif -s 2 --sigma 3 1", "--sigma is 3 to 1"),
    ("in.tif -s 2 --reader eye", "eye"),
    ("in.tif -s 2 --geometry round", "round"),
    ("in.tif -s 2 --border mirror", "mirror"),
    ("in.tif -s 2 --device tpu", "device is 'tpu'"),
    ("in.tif -s 2 --mask small.png", "the mask is 4 × 5; expected 64 × 64"),
    ("in.tif -s 2 --mask none.png", "none.png: there is no such file"),
    ("in.tif -s 2 --mask psf.mat", "expected "),
    ("in.tif -s 2 --kernel-out k.mat", "expected .npy, .tif, .tiff or .png"),
    ("in.tif -s 2 --kernel-out mask.png", "exists already"),
    ("in.tif -s 2 --kernel-out in.tif --force", "two options name this file"),
    ("in.tif -s 2 --mask mask.png --kernel-out mask.png --force", "two options name this file"),
    ("in.tif -s 2 --report r.txt", "expected .json"),
    ("in.tif -s 2 --report old.json", "exists already"),
    ("in.tif -s 2 --report none/r.json", "there is no folder none"),
    ("small.png -s 2", "4 × 5 pixels; expected at least 16 on each side"),
]


@pytest.fixture
def bad_folder(folder: Path) -> Path:
    small = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(small).save(folder / "small.png")
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "old.json").write_text("{}", encoding="utf-8")
    np.save(folder / "psf.npy", np.eye(5))
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_input(
    arguments: str,
    message: str,
    bad_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check_refused(f"kernel {arguments}", message, bad_folder, monkeypatch, capfd)
