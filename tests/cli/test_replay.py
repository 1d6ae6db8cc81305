"""``restore --replay`` repeats the run of a report, if its files are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_blindsr.images.files import open_image
from tests.cli.command_line import check_refused, narrow_schedule, picture, run_here


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a picture, a mask of a part of it, a kernel and a stack."""
    narrow_schedule(monkeypatch)
    Image.fromarray(picture((30, 32))).save(tmp_path / "in.png")
    mask = np.zeros((30, 32), dtype=np.uint8)
    mask[20:24, 4:9] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.save(tmp_path / "kernel.npy", np.outer(*2 * [np.hanning(9)]).astype(np.float32))
    np.save(tmp_path / "stack.npy", np.stack([picture((30, 32)), 255 - picture((30, 32))]))
    return tmp_path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(open_image(path).array[...])


@pytest.mark.parametrize(
    "options",
    [
        "in.png --sigma 0.8 2 --noise 3 --quality refined",
        "in.png --kernel kernel.npy --mask mask.png",
        "in.png --method ddsr --steps 2 --seed 5 --threads 1 --unbounded",
        "stack.npy --axes TYX --planes T=1 --kernels plane --roi 0:28,2:32",
    ],
    ids=["fast", "files", "ddsr", "stack"],
)
def test_a_report_repeats_its_run(
    options: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = "out.json" if options.startswith("stack") else "r.json"
    asked = "" if report == "out.json" else f"--report {report}"
    assert run_here(f"restore {options} -s 2 -o out.tif {asked}", monkeypatch, folder) == 0
    first = json.loads((folder / report).read_text(encoding="utf-8"))

    # From another folder, too.
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    assert run_here(f"restore --replay ../{report} -o again.tif", monkeypatch, elsewhere) == 0
    np.testing.assert_array_equal(pixels(elsewhere / "again.tif"), pixels(folder / "out.tif"))

    # What is given replaces what the report says.
    assert run_here(f"restore --replay ../{report} -o x3.tif -s 3", monkeypatch, elsewhere) == 0
    size = [3 * n // 2 for n in pixels(folder / "out.tif").shape[-2:]]
    assert list(pixels(elsewhere / "x3.tif").shape[-2:]) == size
    assert first["command"]["options"]["scale"] == 2


def test_a_repetition_can_be_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_here("restore in.png -s 2 -o a.tif --report a.json", monkeypatch, folder) == 0
    assert run_here("restore --replay a.json -o b.tif --report b.json", monkeypatch, folder) == 0
    a, b = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in "ab")
    assert a["command"] == b["command"]


def test_a_moved_file_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_here("restore in.png -s 2 -o a.tif --report a.json", monkeypatch, folder) == 0
    (folder / "in.png").rename(folder / "moved.png")
    assert run_here("restore moved.png --replay a.json -o b.tif", monkeypatch, folder) == 0
    np.testing.assert_array_equal(pixels(folder / "a.tif"), pixels(folder / "b.tif"))


def test_every_file_of_a_zarr_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr")
    assert run_here("restore stack.npy --axes TYX -s 1 -o s.ome.zarr", monkeypatch, folder) == 0
    assert run_here("restore s.ome.zarr -s 2 -o a.tif", monkeypatch, folder) == 0
    assert run_here("restore --replay a.json -o b.tif", monkeypatch, folder) == 0
    np.testing.assert_array_equal(pixels(folder / "a.tif"), pixels(folder / "b.tif"))
    (folder / "s.ome.zarr" / "more.txt").write_text("x", encoding="utf-8")
    assert run_here("restore --replay a.json -o c.tif", monkeypatch, folder) == 2


def test_another_version_is_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here("restore in.png -s 2 -o a.tif --report a.json", monkeypatch, folder) == 0
    report = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    report["command"]["version"] = "0.0.1"
    (folder / "a.json").write_text(json.dumps(report), encoding="utf-8")
    capfd.readouterr()
    assert run_here("restore --replay a.json -o b.tif", monkeypatch, folder) == 0
    assert "note: the run was one of version 0.0.1; this is " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "no INPUT is given; expected images, stacks, folders, or --replay REPORT"),
        ("--replay none.json", "cannot read none.json: there is no such file"),
        ("--replay in.png", "in.png says no command that could be repeated; expected a report"),
        ("--replay deep.json", "deep.json says no command that could be repeated"),
        ("--replay old.json", "old.json says no command that could be repeated"),
        ("--replay r.json", "in.png is not what it was in the run of r.json; expected the SHA-256"),
        ("in.png mask.png --replay r.json", "--output is out.tif, one file, for 2 INPUTs"),
        ("--replay lost.json", "nowhere.png: there is no such file"),
        ("--replay odd.json", "Invalid value for '--scale'"),
        (
            "copy.png --replay r.json --mask mask.png",
            "--mask is mask.png, but in the run of r.json it was not given",
        ),
    ],
)
def test_what_cannot_be_repeated(
    options: str,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_here("restore in.png -s 2 -o a.tif --report r.json", monkeypatch, folder) == 0
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    (folder / "in.png").rename(folder / "copy.png")
    Image.fromarray(picture((30, 31))).save(folder / "in.png")
    (folder / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    _write(folder / "old.json", {key: report[key] for key in report if key != "command"})
    report["command"]["files"]["INPUT"]["path"] = "nowhere.png"
    _write(folder / "lost.json", report)
    report["command"]["options"]["scale"] = {}
    _write(folder / "odd.json", report)
    capfd.readouterr()
    scale = "" if "odd" in options else "-s 2"
    check_refused(f"restore {options} {scale} -o out.tif", message, folder, monkeypatch, capfd)


def _write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report), encoding="utf-8")
