"""Fields on the command line: read, restored, written, and read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_blindsr.cli.options import parse_field
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.images.files import read_image
from napari_blindsr.physics.kernel_files import read_kernel, write_kernel
from tests.cli.command_line import check_refused, run_here
from tests.estimation.test_field import growing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.rint(growing(56, seed=3).image * 30_000).clip(0, 65535).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif", image, imagej=True, resolution=(10, 10), metadata={"unit": "um"}
    )
    return tmp_path


def test_the_table_has_a_row_a_region(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "kernel in.tif --scale 2 --field 1x2 --kernel-out k.npy --report k.json --device cpu"
    assert run_here(line, monkeypatch, folder) == 0
    out = capfd.readouterr().out
    rows = [row.split() for row in out.splitlines() if row.strip().endswith("found")]
    assert [row[:2] for row in rows] == [["0", "0"], ["0", "1"]]
    assert "longer, µm" in out
    assert "90 % intervals" in out
    # Blur grows to the right; 0.1 µm a pixel.
    first, second = (float(row[2]) for row in rows)
    assert first < second
    assert float(rows[1][4]) == pytest.approx(0.1 * second, rel=0.02)
    report = json.loads((folder / "k.json").read_text())
    assert report["shape"] == [1, 2]
    assert report["settings"]["field"] == [1, 2]
    (regions,) = report["regions"]
    assert regions[0]["widths_um"][0] == pytest.approx(0.05 * regions[0]["widths"][0])
    kernels = np.load(folder / "k.npy")
    assert kernels.shape[:2] == (1, 2)
    assert kernels.sum(axis=(2, 3)) == pytest.approx(1, abs=1e-5)


def test_kernels_are_written_and_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "restore in.tif --scale 2 --field 1x2 -o out.tif --kernel-out k.tif --report r.json"
    assert run_here(f"{line} --device cpu", monkeypatch, folder) == 0
    report = json.loads((folder / "r.json").read_text())
    assert report["field"]["shape"] == [1, 2]
    assert len(report["field"]["regions"][0]) == 2
    kernels = read_kernel(folder / "k.tif")
    assert kernels.shape[:2] == (1, 2)
    line = "restore in.tif --scale 2 --kernel k.tif -o again.tif --device cpu"
    assert run_here(line, monkeypatch, folder) == 0
    first, again = (read_image(folder / name).array for name in ("out.tif", "again.tif"))
    assert np.abs(first - again).max() < 0.03 * np.ptp(first)


def test_many_files_have_their_fields(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "restore in.tif --scale 2 --field 1x2 -d results --device cpu"
    assert run_here(line, monkeypatch, folder) == 0
    kernels = np.load(folder / "results" / "in_x2.kernel.npy")
    assert kernels.shape[:2] == (1, 2)
    report = json.loads((folder / "results" / "in_x2.json").read_text())
    assert report["kernels"][0]["field"]["shape"] == [1, 2]


REFUSED = {
    "restore in.tif --scale 2 -o o.tif --field 0x2": "field is (0, 2)",
    "restore in.tif --scale 2 -o o.tif --field 3": "field is '3'; expected rows and columns",
    "restore in.tif --scale 2 -o o.tif --field 1x9": "regions of 56 × 6 pixels",
    "restore in.tif --scale 2 -o o.tif --field 2x2 --method ddsr": "optimises one kernel",
    "restore in.tif --scale 2 -o o.tif --field 2x2 --tile none": "tile is None",
    "kernel in.tif --scale 2 --field 2x2 --reader spectrum": "expected the reader 'network'",
    "restore in.tif --scale 2 -o o.tif --kernel three.npy": "2 × 5 × 5",
}


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_refused_in_one_line(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "three.npy", np.ones((2, 5, 5)))
    check_refused(line, REFUSED[line], folder, monkeypatch, capfd)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (3, 3), (2, 3)])
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_grids_of_any_shape_are_files(shape: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    kernels = np.random.default_rng(0).random((*shape, 5, 5)).astype(np.float32)
    path = tmp_path / f"k{suffix}"
    write_kernel(path, kernels)
    np.testing.assert_array_equal(read_kernel(path), kernels)


def test_a_grid_is_looked_at_side_by_side(tmp_path: Path) -> None:
    kernels = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1, 1) * np.ones((5, 5), np.float32)
    write_kernel(tmp_path / "k.png", kernels)
    view = np.asarray(Image.open(tmp_path / "k.png"))
    assert view.shape == (10, 15)
    assert view[0, 0] < view[0, 7] < view[7, 0] < view[9, 14] == 255


def test_what_is_no_grid_is_no_kernel(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((2, 3, 5, 4)))
    with pytest.raises(InputError, match="2 × 3 × 5 × 4"):
        read_kernel(tmp_path / "k.npy")


def test_the_names_of_fields() -> None:
    assert parse_field("3x4") == parse_field("3X4") == parse_field("3×4") == (3, 4)
    for text in ("", "3", "3x", "axb", "3x4x5", "1.5x2"):
        with pytest.raises(SettingsError, match="such as 3x4"):
            parse_field(text)
