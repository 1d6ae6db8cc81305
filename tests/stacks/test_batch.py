"""Stacks and many files: named, written as they come, gone on with, and never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_blindsr import Settings, StackOptions, restore_stack
from napari_blindsr.cli.inputs import parse_roi, parse_tile
from napari_blindsr.errors import BlindSRError, FileError, SettingsError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images import atomic
from napari_blindsr.images.files import open_image
from napari_blindsr.images.tiling import Box
from napari_blindsr.progress import drained
from napari_blindsr.stacks.batch import (
    file_job,
    is_finished,
    open_file,
    plan_files,
    restore_file,
    split_name,
)
from napari_blindsr.stacks.outputs import OutputError
from tests.cli.command_line import run_here

KERNEL = np.full((5, 5), 1 / 25)
HELD = Settings(scale=2, kernel="known", finish="measurement")


def cells(count: int, side: int = 32) -> NDArray[np.uint16]:
    """Return different pictures of cells, (count, side, side)."""
    return np.stack(
        [
            Camera().expose(fluorescent_cells((side, side), seed=seed), seed=seed)
            for seed in range(count)
        ]
    )


def write_ome(path: Path, image: NDArray[Any], axes: str) -> None:
    """Write an OME-TIFF with a pixel size of 0.2 × 0.1 µm, and channel names."""
    metadata: dict[str, Any] = {
        "axes": axes,
        "PhysicalSizeX": 0.1,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }
    if "C" in axes:
        metadata["Channel"] = {"Name": ["actin", "dna"][: image.shape[axes.index("C")]]}
    tifffile.imwrite(path, image, ome=True, metadata=metadata)


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr", ".npy"])
def test_a_stack_is_restored_from_file_to_file(ending: str, tmp_path: Path) -> None:
    image = cells(4).reshape(2, 2, 32, 32)
    write_ome(tmp_path / "in.ome.tif", image, "TCYX")
    job = file_job(tmp_path / "in.ome.tif", tmp_path / f"out{ending}")
    result = drained(restore_file(open_file(job, HELD, StackOptions(), known=KERNEL), run="x"))
    expected = restore_stack(image, HELD, axes="TCYX", known_kernel=KERNEL)
    found = open_image(job.image)
    np.testing.assert_array_equal(np.asarray(found.array[:, :]), expected.image)
    assert result.image.size == 0
    if ending != ".npy":
        size = found.description.pixel_size
        assert size is not None
        assert (size.y, size.x, size.unit) == (0.1, 0.05, "µm")
        assert found.description.axes == "TCYX"
        assert found.description.channel_names == ("actin", "dna")
    if ending == ".ome.zarr":
        # The first fine pixel lies a quarter of a pixel beyond the first coarse one.
        assert found.description.origin == pytest.approx((-0.05, -0.025))
    report = json.loads(job.report.read_text(encoding="utf-8"))
    assert report["run"] == "x"
    assert len(report["planes"]) == 4
    np.testing.assert_array_equal(
        np.load(job.kernel), expected.kernels[0].kernel[None].repeat(2, 0)
    )


def test_regions_and_channels_are_described(tmp_path: Path) -> None:
    image = cells(4, side=48).reshape(2, 2, 48, 48)
    write_ome(tmp_path / "in.ome.tif", image, "TCYX")
    job = file_job(tmp_path / "in.ome.tif", tmp_path / "out.ome.zarr")
    options = StackOptions(
        planes="C=1", region=Box(top=8, left=16, bottom=40, right=48), dtype="source"
    )
    drained(restore_file(open_file(job, HELD, options, known=KERNEL), run="x"))
    found = open_image(job.image)
    assert found.array.shape == (2, 1, 64, 64)
    assert found.array.dtype == np.uint16
    assert found.description.channel_names == ("dna",)
    assert found.description.origin == pytest.approx((0.2 * (8 - 0.25), 0.1 * (16 - 0.25)))


def test_names_of_results() -> None:
    sources = [Path("a/x.ome.tif"), Path("a/y.png"), Path("b/z.tif"), Path("w.zarr")]
    jobs = plan_files(sources, Path("out"), scale=3)
    assert [job.image.name for job in jobs] == ["x_x3.ome.tif", "y_x3.tif", "z_x3.tif", "w_x3.zarr"]
    assert jobs[0].kernel == Path("out/x_x3.kernel.npy")
    assert jobs[0].report == Path("out/x_x3.json")
    zarr = plan_files(sources[:1], Path("out"), scale=3, file_format="zarr")
    assert zarr[0].image.name == "x_x3.ome.zarr"
    assert split_name(Path("n.OME.TIF")) == ("n", ".ome.tif")
    with pytest.raises(FileError, match="would both become"):
        plan_files([Path("a/x.tif"), Path("b/x.tif")], Path("out"), scale=2)


def test_the_command_goes_on_after_a_failure_and_skips_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "kernel.npy", KERNEL)
    write_ome(tmp_path / "one.ome.tif", cells(2), "ZYX")
    tifffile.imwrite(tmp_path / "two.tif", cells(1)[0])
    (tmp_path / "bad.tif").write_bytes(b"nonsense")
    command = "restore *.tif -s 2 -d out --kernel kernel.npy --finish measurement"
    assert run_here(command, monkeypatch, tmp_path) == 1
    said = capsys.readouterr().err
    assert "bad.tif: not restored: cannot read" in said
    assert "along Z nothing was sharpened" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one_x2.json",
        "one_x2.kernel.npy",
        "one_x2.ome.tif",
        "two_x2.json",
        "two_x2.kernel.npy",
        "two_x2.tif",
    ]
    before = (tmp_path / "out" / "one_x2.ome.tif").stat().st_mtime_ns
    (tmp_path / "bad.tif").unlink()
    assert run_here(command, monkeypatch, tmp_path) == 0
    assert capsys.readouterr().err.count("already complete") == 2
    assert (tmp_path / "out" / "one_x2.ome.tif").stat().st_mtime_ns == before
    # Another computation does not replace it unless it is asked to.
    assert run_here(f"{command} --noise 3", monkeypatch, tmp_path) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert run_here(f"{command} --noise 3 --force", monkeypatch, tmp_path) == 0


def test_the_command_restores_one_stack_and_a_region_of_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "kernel.npy", KERNEL)
    np.save(tmp_path / "in.npy", cells(3))
    rest = "-s 2 --kernel kernel.npy --finish measurement"
    command = f"restore in.npy -o out.ome.zarr --axes ZYX --planes Z=1: {rest}"
    assert run_here(command, monkeypatch, tmp_path) == 0
    assert open_image(tmp_path / "out.ome.zarr").array.shape == (2, 64, 64)
    tifffile.imwrite(tmp_path / "plane.tif", cells(1)[0])
    command = f"restore plane.tif -o part.tif --roi 4:20,8:30 {rest}"
    assert run_here(command, monkeypatch, tmp_path) == 0
    assert tifffile.imread(tmp_path / "part.tif").shape == (32, 44)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("in.npy -s 2", "neither of --output and --output-dir"),
        ("in.npy -s 2 -o a.tif -d b", "both of --output and --output-dir"),
        ("in.npy in.npy -s 2 -o a.tif", "one file, for 2"),
        ("in.npy -s 2 -o a.tif --planes Z=9 --axes ZYX", "planes are"),
        ("in.npy -s 2 -o a.tif --axes YX", "mean 2 dimensions|axes"),
        ("in.npy -s 2 -o a.tif --axes ZYX --report r.json", "beside the results"),
        ("in.npy -s 2 -d in.npy", "it is a file"),
        ("in.npy -s 2 -o a.tif --roi 1:2", "roi is"),
        ("in.npy -s 2 -o a.tif --axes ZYX --roi 0:99,0:9", "region"),
        ("in.npy -s 2 -o a.tif --tile big", "tile is"),
        ("no.npy -s 2 -d out", "no.npy"),
        ("in.npy -s 2 -d new/out --axes YX", "mean 2 dimensions|axes"),
        ("in.npy -s 2 -o new/out.zarr --axes YX", "mean 2 dimensions|axes"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    arguments: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "in.npy", cells(2))
    assert run_here(f"restore {arguments}", monkeypatch, tmp_path) == 2
    said = capsys.readouterr().err
    assert any(word in said for word in words.split("|"))
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_folders_that_were_there_stay_and_new_ones_without_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.tif", "two.tif"):
        (tmp_path / name).write_bytes(b"nonsense")
    (tmp_path / "there").mkdir()
    assert run_here("restore *.tif -s 2 -d there/new/deep", monkeypatch, tmp_path) == 1
    assert not list((tmp_path / "there").iterdir())
    assert run_here("restore *.tif -s 2 -d there", monkeypatch, tmp_path) == 1
    assert (tmp_path / "there").is_dir()


def test_options_that_stand_for_something() -> None:
    assert parse_roi("1:2,3:4") == Box(top=1, left=3, bottom=2, right=4)
    assert (parse_tile("auto"), parse_tile("none"), parse_tile("512")) == ("auto", None, 512)
    with pytest.raises(SettingsError):
        parse_roi("1:2:3,4:5")


SLOW = """
import sys, time
import numpy as np
from pathlib import Path
from napari_blindsr import Settings, StackOptions
from napari_blindsr.stacks.batch import file_job, open_file, restore_file
job = file_job(Path(sys.argv[1]), Path(sys.argv[2]))
settings = Settings(scale=2, kernel="known", finish="measurement")
opened = open_file(job, settings, StackOptions(), axes="TYX", known=np.full((5, 5), 1 / 25))
for report in restore_file(opened, run="same"):
    print(report.step, flush=True)
    if report.step == 2:
        time.sleep(60)
"""


def test_a_killed_run_is_gone_on_with(tmp_path: Path) -> None:
    image = cells(5)
    np.save(tmp_path / "in.npy", image)
    target = tmp_path / "out.ome.zarr"
    command = [sys.executable, "-c", SLOW, str(tmp_path / "in.npy"), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "2":
                break
        # Two planes are complete; the third one has not begun.
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
    assert not target.exists()
    job = file_job(tmp_path / "in.npy", target)
    opened = open_file(job, HELD, StackOptions(), axes="TYX", known=KERNEL)
    result = drained(restore_file(opened, run="same"))
    assert result.kept == 2
    expected = restore_stack(image, HELD, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(np.asarray(open_image(target).array[:]), expected.image)
    assert not list(tmp_path.glob(".*"))
    # What was known of the planes that were kept is kept, too.
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [entry["index"] for entry in report["planes"]] == [[0], [1], [2], [3], [4]]
    assert report["kernels"][0]["indices"] == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("ending", [".tif", ".ome.zarr"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_killed_between_image_and_report_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, after: int
) -> None:
    np.save(tmp_path / "in.npy", cells(2))
    job = file_job(tmp_path / "in.npy", tmp_path / f"out{ending}")
    opened = open_file(job, HELD, StackOptions(), axes="TYX", known=KERNEL)
    real, moved = atomic._take_name, 0

    def take(*move: Path) -> None:
        nonlocal moved
        if moved == after:
            raise SystemExit
        moved += 1
        real(*move)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_take_name", take)
        with pytest.raises(SystemExit):
            drained(restore_file(opened, run="x"))
    assert is_finished(job, "x")
    expected = {"in.npy", f"out{ending}", "out.kernel.npy", "out.json"}
    assert {path.name for path in tmp_path.iterdir()} == expected
    whole = restore_stack(cells(2), HELD, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(np.asarray(open_image(job.image).array[:]), whole.image)


def test_another_computation_does_not_go_on_with_it(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", cells(3))
    job = file_job(tmp_path / "in.npy", tmp_path / "out.ome.zarr")
    opened = open_file(job, HELD, StackOptions(), axes="TYX", known=KERNEL)
    steps = restore_file(opened, run="first")
    while next(steps).step < 1:
        pass
    steps.close()
    result = drained(restore_file(opened, run="second"))
    assert result.kept == 0


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "in.npy", cells(3))
    job = file_job(tmp_path / "in.npy", tmp_path / "out.tif")
    opened = open_file(job, HELD, StackOptions(), axes="TYX", known=KERNEL)
    steps = restore_file(opened, run="x")
    next(steps)
    from napari_blindsr.stacks import outputs  # noqa: PLC0415

    def full(*_: object) -> None:
        raise FileError("cannot write out.tif: no space left on device")

    monkeypatch.setattr(outputs.FileTarget, "write", full)
    with pytest.raises(OutputError, match="no space left") as error:
        drained(steps)
    assert isinstance(error.value, BlindSRError)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]
