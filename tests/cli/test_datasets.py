"""``napari-blindsr prepare`` and ``evaluate``."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat
from skimage import data

from napari_blindsr import weights
from napari_blindsr.cli import terminal
from napari_blindsr.methods import METHOD_TABLE, Method
from napari_blindsr.metrics import SCORES
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.restoration.result import Result
from napari_blindsr.weights import USRNET_VARIABLE
from tests.cli.command_line import check_refused, narrow_schedule, run_here
from tests.helpers import reference_data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a data set SET; no weights are there, and none can be fetched."""
    narrow_schedule(monkeypatch)
    monkeypatch.delenv(USRNET_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(weights, "USRNET_ADDRESS", "http://127.0.0.1:1/usrnet_tiny.pth")
    (tmp_path / "cache").mkdir()
    (tmp_path / "SET" / "HR").mkdir(parents=True)
    for name, top in (("a", 20), ("b", 60)):
        image = data.astronaut()[top : top + 40, 180:222]
        Image.fromarray(image).save(tmp_path / "SET" / "HR" / f"{name}.png")
    return tmp_path


@pytest.fixture
def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert run_here("prepare SET -s 2 --seed 1 --quiet", monkeypatch, folder) == 0
    return folder


def test_prepare(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "prepare SET --scale 4 --kernel disk --radius 1.5 2.5 --noise 3 --gain 0.5 --seed 1 "
        "--model MLMC --geometry camera --border extend"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    said = capfd.readouterr()
    assert said.out == ""
    assert "prepared 2 images" in said.err
    manifest = json.loads((folder / "SET" / "MLMC_manifest_x4.json").read_text(encoding="utf-8"))
    expected = {
        "model": "MLMC",
        "scale": 4,
        "geometry": "camera",
        "border": "extend",
        "gain": 0.5,
        "noise": 3.0,
        "noise_unit": "8-bit levels",
        "seed": 1,
        "family": {"name": "disk", "radius": [1.5, 2.5]},
    }
    assert {key: manifest[key] for key in expected} == expected
    assert set(manifest["images"]) == {"a", "b"}
    kernel = loadmat(folder / "SET" / "MLMC_gt_k_x4" / "a.mat")["Kernel"]
    assert kernel.sum() == pytest.approx(1)
    with Image.open(folder / "SET" / "MLMC_lr_x4" / "a.png") as image:
        assert image.mode == "RGB"
    again = "prepare SET -s 4 --kernel disk --model MLMC"
    check_refused(again, "exists already; --force", folder, monkeypatch, capfd)
    assert run_here(f"{again} --force --quiet", monkeypatch, folder) == 0


def test_prepare_with_given_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kernels").mkdir()
    np.save(folder / "kernels" / "one.npy", np.diag(np.ones(9)))
    for kernel in ("kernels", "kernels/one.npy"):
        arguments = f"prepare SET -s 2 --kernel {kernel} --force --quiet"
        assert run_here(arguments, monkeypatch, folder) == 0
        path = folder / "SET" / "DDSR_manifest_x2.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        assert manifest["kernel_source"] == kernel
        assert (manifest["family"] is None) == (kernel != "kernels")


PREPARE = [
    ("none -s 2", "there is no data set none"),
    ("EMPTY -s 2", "the data set EMPTY has no folder HR"),
    ("BARE -s 2", "holds no images"),
    ("TEXT -s 2", "text.png: it is no PNG image"),
    ("SET -s 0", "scale is 0"),
    ("SET -s 2 --seed -1", "seed is -1"),
    ("SET -s 2 --noise -1", "noise is -1.0"),
    ("SET -s 2 --gain 0", "gain is 0.0"),
    ("SET -s 2 --gain dark", "'dark'"),
    ("SET -s 2 --kernel none", "kernel is 'none'"),
    ("SET -s 2 --kernel SET", "holds no kernels"),
    ("SET -s 2 --kernel bad.npy", "expected a square array"),
    ("SET -s 2 --kernel negative.npy", "positive sum"),
    ("SET -s 2 --kernel disk --sigma 1 2", "--sigma is a parameter of --kernel gaussian"),
    ("SET -s 2 --sigma 40 60", "too small for a kernel"),
    ("SET -s 2 --model a/b", "model is 'a/b'"),
    ("SET -s 2 --geometry flat", "flat"),
]


@pytest.mark.parametrize(("arguments", "message"), PREPARE, ids=[case[0] for case in PREPARE])
def test_what_cannot_be_prepared(
    arguments: str,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (folder / "EMPTY").mkdir()
    (folder / "BARE" / "HR").mkdir(parents=True)
    (folder / "TEXT" / "HR").mkdir(parents=True)
    (folder / "TEXT" / "HR" / "text.png").write_text("no image", encoding="utf-8")
    np.save(folder / "bad.npy", np.ones((3, 4)))
    np.save(folder / "negative.npy", -np.ones((3, 3)))
    check_refused(f"prepare {arguments}", message, folder, monkeypatch, capfd)


@pytest.mark.parametrize(("method", "options"), [("fast", ""), ("mlmc", "--method mlmc --steps 1")])
def test_evaluate_prints_a_table_and_resumes(
    method: str,
    options: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = f"evaluate SET -s 2 {options} --device cpu --threads 1"
    assert run_here(f"{arguments} --csv out.csv", monkeypatch, prepared) == 0
    first = capfd.readouterr()
    for metric in SCORES:
        assert metric.label in first.out
    for heading in ("time [s]", "memory [MiB]", "cubic", "mean"):
        assert heading in first.out
    # A mere baseline is no reason to fetch anything.
    assert "USRNet" not in first.out + first.err
    assert "restoring a" in first.err
    assert "restoring b" in first.err
    (results,) = (prepared / "SET" / "DDSR_results_x2").iterdir()
    assert results.name.startswith(f"{method}-")
    assert {path.name for path in results.iterdir()} == {
        f"{name}{suffix}" for name in "ab" for suffix in (".tif", ".npy", ".json")
    }
    with (prepared / "out.csv").open(newline="", encoding="utf-8") as stream:
        assert [line["image"] for line in csv.DictReader(stream)] == ["a", "b", "mean"]
    assert run_here(arguments, monkeypatch, prepared) == 0
    second = capfd.readouterr()
    assert "restoring" not in second.err
    assert second.out == first.out
    check_refused(f"{arguments} --csv out.csv", "exists already", prepared, monkeypatch, capfd)


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_every_method_can_be_evaluated(
    method: Method,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = reference_data() / "usrnet_tiny.pth"
    arguments = (
        f"evaluate SET -s 2 --method {method.name} {'--steps 1' if method.optimises else ''} "
        f"--images b --kernel known --results out --usrnet-weights {file} --quiet"
    )
    assert run_here(arguments, monkeypatch, prepared) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert "USRNet" in shown.out
    (results,) = (prepared / "out").iterdir()
    report = json.loads((results / "b.json").read_text(encoding="utf-8"))
    assert report["finish"] == method.finish
    assert report["settings"]["kernel"] == "known"
    assert (report["settings"]["geometry"], report["settings"]["border"]) == (
        "benchmark",
        "circular",
    )


def test_results_that_are_there_are_scored(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (prepared / "theirs").mkdir()
    truth = Image.open(prepared / "SET" / "HR" / "b.png")
    truth.save(prepared / "theirs" / "b.png")
    assert run_here("evaluate SET -s 2 --results theirs", monkeypatch, prepared) == 0
    shown = capfd.readouterr()
    assert "1 of 2 images; nothing is run" in shown.err
    assert "inf" in shown.out
    assert [path.name for path in (prepared / "theirs").iterdir()] == ["b.png"]


def test_the_optics_are_those_of_the_data_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    optics = "--na 0.9 --emission 600 --pixel-size 200"
    assert run_here(f"prepare SET -s 2 --kernel airy {optics} --quiet", monkeypatch, folder) == 0
    capfd.readouterr()
    arguments = "evaluate SET -s 2 --kernel airy --images a --results out --quiet"
    assert run_here(arguments, monkeypatch, folder) == 0
    (settings,) = (folder / "out").rglob("*.json")
    assert '"numerical_aperture": 0.9' in settings.read_text()


def test_a_first_stage_does_not_pass_for_the_whole(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = "evaluate SET -s 2 --method mlmc-usrnet --steps 1 --quiet"
    check_refused(arguments, "cannot be fetched", prepared, monkeypatch, capfd)


def test_an_interrupt_keeps_what_is_finished(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = terminal.run
    calls = []

    def interrupted(*arguments: Any, **options: Any) -> Result:
        """Press Ctrl-C twice in the second image."""
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(terminal, "run", interrupted)
    arguments = "evaluate SET -s 2 --method mlmc --steps 1 --csv out.csv"
    assert run_here(arguments, monkeypatch, prepared) == 1
    shown = capfd.readouterr()
    assert "stopped after 1 of 2 images; the same command resumes" in shown.err
    assert "mean" in shown.out
    assert not (prepared / "out.csv").exists()
    monkeypatch.setattr(terminal, "run", real)
    assert run_here(arguments, monkeypatch, prepared) == 0
    again = capfd.readouterr()
    assert "restoring a" not in again.err
    assert "restoring b" in again.err
    assert (prepared / "out.csv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows raises no SIGINT here")
@pytest.mark.parametrize("moment", [0, 1, 2])
def test_an_interrupt_during_a_short_run_ends_the_evaluation(
    moment: int,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = iterate
    started = []

    def interrupted(*arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
        """Press Ctrl-C once in the second image: while the blur is read, or after that."""
        started.append(1)
        run = real(*arguments, **options)
        answer = None
        for number in range(10):
            try:
                report = run.send(answer)
            except StopIteration as end:
                assert number == 3
                return end.value
            answer = yield report
            if len(started) == 2 and number == moment:
                signal.raise_signal(signal.SIGINT)
        return None

    monkeypatch.setattr(terminal, "iterate", interrupted)
    assert run_here("evaluate SET -s 2 --method fast", monkeypatch, prepared) == 1
    shown = capfd.readouterr()
    assert "stopping after this step" in shown.err
    assert "stopped after 1 of 2 images; the same command resumes" in shown.err


EVALUATE = [
    ("none -s 2", "there is no data set none"),
    ("EMPTY -s 2", "the data set EMPTY has no folder HR"),
    ("SET -s 4", "not prepared for scale 4"),
    ("SET -s 2 --model MLMC", "model MLMC"),
    ("SET -s 2 --kernel airy", "airy needs the optics, which this data set does not have"),
    ("SET -s 2 --images a,c", "no image 'c'"),
    ("SET -s 2 --method magic", "method is 'magic'"),
    ("SET -s 2 --kernel magic", "kernel is 'magic'; expected one of"),
    ("SET -s 2 --method mlmc --gain 0.5", "takes no gain"),
    ("SET -s 2 --steps 300", "steps is 300, but method 'fast' takes no steps"),
    ("SET -s 2 --finish none", "finish is 'none', expected one of ['prior', 'usrnet', 'measurem"),
    ("SET -s 2 --noise much", "noise is 'much'"),
    ("SET -s 2 --method mlmc --steps 0", "steps is 0; it must be at least 1"),
    ("SET -s 2 --device tpu", "device is 'tpu'"),
    ("SET -s 2 --csv out.txt", "expected .csv"),
    ("SET -s 2 --csv none/out.csv", "there is no folder none"),
    ("SET -s 2 --results file", "cannot make the folder"),
    ("SET -s 2 --usrnet-weights file", "has SHA-256"),
]


@pytest.mark.parametrize(("arguments", "message"), EVALUATE, ids=[case[0] for case in EVALUATE])
def test_what_cannot_be_evaluated(
    arguments: str,
    message: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (prepared / "EMPTY").mkdir()
    (prepared / "file").touch()
    check_refused(f"evaluate {arguments} --quiet", message, prepared, monkeypatch, capfd)


def test_a_truth_that_does_not_fit_shows_before_any_run(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(data.astronaut()[:30, :30]).save(prepared / "SET" / "HR" / "b.png")
    check_refused("evaluate SET -s 2", "prepare the data set again", prepared, monkeypatch, capfd)


def test_published_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lane = reference_data() / "lane128"
    weighted = f"--usrnet-weights {reference_data() / 'usrnet_tiny.pth'}"
    monkeypatch.setenv("COLUMNS", "200")
    arguments = (
        f"evaluate {lane.resolve()} -s 4 --images bird --kernel known --method mlmc --steps 1 "
        f"--results out --schedule reference {weighted}"
    )
    code = run_here(arguments, monkeypatch, tmp_path)
    said = capfd.readouterr()
    assert code == 0, said.err
    # Cubic interpolation, and USRNet with the true kernel, as published.
    assert "28.58" in said.out
    assert "33.39" in said.out
