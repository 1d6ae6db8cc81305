"""The command line as users run it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_blindsr import weights
from napari_blindsr.cli import terminal
from napari_blindsr.errors import EngineError
from napari_blindsr.images.files import read_image
from napari_blindsr.physics.simulate import gaussian_kernel
from napari_blindsr.restoration import restore
from napari_blindsr.types import SCALES
from tests.cli.command_line import ENVIRONMENT, call, check_refused, command, picture, run_here
from tests.helpers import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(
        tmp_path / "in.tif",
        picture().astype(np.uint16),
        imagej=True,
        resolution=(5, 4),
        metadata={"unit": "um"},
    )
    Image.fromarray(picture((24, 26, 3))).save(tmp_path / "in.png")
    return tmp_path


def test_tiff_kernel_and_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "restore in.tif -o out.tif --scale 2 --method mlmc --steps 2 --seed 7 --device cpu "
        "--kernel-out k.npy --report r.json"
    )
    code = run_here(arguments, monkeypatch, folder)
    said = capfd.readouterr().err
    assert code == 0, said
    assert "torch" in said
    assert "device cpu" in said
    assert "completed after 2 steps" in said
    loaded = read_image(folder / "out.tif")
    assert loaded.array.shape == (48, 52)
    assert loaded.array.dtype == np.float32
    # In the unit of the input.
    assert loaded.array.mean() == pytest.approx(picture().mean(), rel=0.5)
    assert loaded.pixel_size is not None
    assert (loaded.pixel_size.y, loaded.pixel_size.x) == pytest.approx((0.125, 0.1))
    assert loaded.pixel_size.unit == "um"
    kernel = np.load(folder / "k.npy")
    assert kernel.dtype == np.float32
    assert kernel.shape == (11, 11)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    expected = {"method": "mlmc", "scale": 2, "seed": 7, "steps": 2, "device": "cpu"}
    assert {key: report[key] for key in expected} == expected
    assert report["reason"] == "completed"
    assert len(report["losses"]) == 2
    assert report["kernel_center"] == [5.5, 5.5]
    assert {"seconds", "dtype", "versions"} <= report.keys()


def test_the_default_says_the_blur_and_the_networks_used(folder: Path) -> None:
    done = call(
        "restore in.tif -o out.tif --scale 2 --device cpu --kernel-out k.npy --report r.json",
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    loaded = read_image(folder / "out.tif")
    assert loaded.array.shape == (48, 52)
    assert loaded.pixel_size is not None
    assert (loaded.pixel_size.y, loaded.pixel_size.x) == pytest.approx((0.125, 0.1))
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert (report["method"], report["finish"], report["reason"]) == ("fast", "prior", "completed")
    assert report["learned_priors"] == ["kernel estimator", "image prior"]
    assert "Neural networks used: kernel estimator, image prior.\n" in done.stderr
    blur = report["blur"]
    fwhm = [2.35482 / report["scale"] * width for width in blur["widths"]]
    ends = [2.35482 / report["scale"] * end for pair in blur["intervals"] for end in pair]
    said = (
        f"Estimated blur: FWHM {fwhm[0]:.1f} × {fwhm[1]:.1f} px "
        f"(90 %: {min(ends):.1f}–{max(ends):.1f}).\n"
    )
    # Not in µm: the pixels are not square.
    assert said in done.stderr
    # There are no steps to count.
    ending = r"^completed after \d+ s; wrote out\.tif, k\.npy, r\.json$"
    assert re.search(ending, done.stderr, re.MULTILINE)
    kernel = np.load(folder / "k.npy")
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert len(kernel) == report["kernel_size"]


def test_quiet_png_with_a_known_kernel_replaces_by_force(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    known = gaussian_kernel((2.0, 1.5), 0.3, scale=2)
    np.save(folder / "known.npy", 3 * known)
    (folder / "out.png").write_bytes(b"old")
    arguments = (
        "restore in.png -o out.png --scale 2 --method mlmc --steps 1 --kernel known.npy --quiet "
        "--force --kernel-out k.tif --bounded"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    assert tuple(capfd.readouterr()) == ("", "")
    result = read_image(folder / "out.png").array
    assert result.shape == (48, 52, 3)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(tifffile.imread(folder / "k.tif"), known, atol=1e-6)


def write_bad_files(folder: Path) -> None:
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "text.tif").write_text("no image", encoding="utf-8")
    tifffile.imwrite(folder / "junk.tif", picture())
    junk = bytearray((folder / "junk.tif").read_bytes())
    # tifffile finds much to say about every tag.
    junk[10:120] = np.random.default_rng(1).bytes(110)
    (folder / "junk.tif").write_bytes(junk)
    np.save(folder / "stack.npy", np.zeros((4, 24, 26)))
    np.save(folder / "small.npy", picture((3, 26)))
    np.save(folder / "low.npy", picture((15, 26)))
    np.save(folder / "constant.npy", np.full((24, 26), 7.0))
    np.save(folder / "empty.npy", np.zeros((0, 26)))
    np.save(folder / "complex.npy", np.zeros((24, 26), complex))
    np.save(folder / "float.npy", picture() / 255)
    np.save(folder / "even.npy", np.zeros((5, 5)))
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        image = picture().astype(np.float32)
        image[3, 4] = value
        np.save(folder / f"{name}.npy", image)
    (folder / "folder.tif").mkdir()


BAD = [
    ("none.png -o out.tif -s 2", "none.png: there is no such file"),
    ("in.psd -o out.tif -s 2", "expected .png, .tif, .tiff, .npy, .jpg"),
    ("text.png -o out.tif -s 2", "no PNG image"),
    ("text.tif -o out.tif -s 2", "no TIFF image"),
    ("small.npy -o out.tif -s 2", "3 × 26 pixels"),
    ("constant.npy -o out.tif -s 2", "constant"),
    ("empty.npy -o out.tif -s 2", "empty"),
    ("complex.npy -o out.tif -s 2", "complex128"),
    ("nan.npy -o out.tif -s 2 --method mlmc", "NaN or infinite"),
    ("infinite.npy -o out.tif -s 2 --method mlmc", "NaN or infinite"),
    (
        "low.npy -o out.tif -s 2",
        "15 × 26 pixels; expected at least 16 on each side to estimate a blur",
    ),
    ("junk.tif -o out.tif -s 2", "expected unsigned integers"),
    ("in.tif -o out.tif -s 0", f"scale is 0; expected a whole number from {SCALES[0]} to 8"),
    ("in.tif -o out.tif -s 9", f"scale is 9; expected a whole number from {SCALES[0]} to 8"),
    ("in.tif -o out.tif -s two", "'two'"),
    ("in.tif -o out.tif", "--scale"),
    ("in.tif -s 2", "--output"),
    ("in.tif -o out.tif -s 2 --method mlmc --steps 0", "steps is 0; it must be at least 1"),
    ("in.tif -o out.tif -s 2 --steps 300", "steps is 300, but method 'fast' takes no steps"),
    ("in.tif -o out.tif -s 2 --finish none", "finish is 'none', expected one of ['prior',"),
    ("in.tif -o out.tif -s 2 --bounded", "bounded is True, but method 'fast'"),
    ("in.tif -o out.tif -s 2 --seed -1", "seed is -1"),
    ("in.tif -o out.tif -s 2 --method magic", "method is 'magic'"),
    ("in.tif -o out.tif -s 2 --geometry flat", "flat"),
    ("in.tif -o out.tif -s 2 --device tpu", "device is 'tpu'"),
    ("in.tif -o out.tif -s 2 --kernel none", "kernel is 'none'"),
    ("in.tif -o out.tif -s 2 --kernel text.png", "no PNG image"),
    ("in.tif -o out.tif -s 2 --kernel stack.npy", "expected a grey image"),
    ("in.tif -o out.tif -s 2 --kernel even.npy", "positive sum"),
    ("in.tif -o out.jpg -s 2", "expected .png, .tif, .tiff, .npy or .zarr"),
    ("in.tif -o none/out.tif -s 2", "there is no folder none"),
    ("in.tif -o folder.tif -s 2", "it is a folder"),
    ("in.tif -o in.png -s 2", "exists already"),
    ("in.tif -o in.tif -s 2 --force", "two options name this file"),
    ("in.tif -o out.tif -s 2 --report r.txt", "expected .json"),
    ("in.tif -o out.tif -s 2 --report out.tif", "expected .json"),
    ("in.tif -o out.tif -s 2 --kernel-out out.tif", "two options name this file"),
    ("in.tif -o out.tif -s 2 --kernel-out k.mat", "expected .npy, .tif, .tiff or .png"),
    ("float.npy -o out.png -s 2", "PNG does not hold a float64 grey image"),
    ("in.tif -o out.tif -s 2 --unknown", "--unknown"),
]


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_bad_files(folder)
    tifffile.imwrite(folder / "in.tif", picture())
    Image.fromarray(picture()).save(folder / "in.png")
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_input_is_one_line_and_code_2(
    arguments: str,
    message: str,
    bad_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check_refused(f"restore {arguments}", message, bad_folder, monkeypatch, capfd)


@pytest.mark.parametrize(
    "arguments",
    ["restore nan.npy -o out.tif -s 2 --method mlmc", "restore in.tif -o in.png -s 2", ""],
)
def test_bad_input_in_a_process_of_its_own(arguments: str, bad_folder: Path) -> None:
    done = call(arguments, folder=bad_folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("napari-blindsr: error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user"
)
def test_unwritable_folder(folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    done = call("restore in.tif -o locked/out.tif -s 2", folder=folder)
    assert done.returncode == 2
    assert "permission denied" in done.stderr


COMPLETE = """
eval "$(napari-blindsr --show-completion)"
COMP_WORDS=(napari-blindsr "$@")
COMP_CWORD=$#
_napari_blindsr_completion napari-blindsr
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have other shells")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("re", "restore"),
        ("restore --uncert", "--uncertainty --uncertainty-out"),
        ("restore --method m", "mlmc mlmc-usrnet"),
        ("restore --border e", "extend"),
        # The shell goes on with the names of files.
        ("restore cel", ""),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, completed: str) -> None:
    # The command as it is installed, which python -m is not for a shell.
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", COMPLETE, "bash", *words.split()],
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (completed, "")


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "restore --help",
        "-h",
        "prepare -h",
        "prepare --help",
        "evaluate --help",
        "demo --help",
        "--version",
        "restore a.tif -o b.tif -s 99",
        "prepare none -s 4",
        "evaluate none -s 4",
    ],
)
def test_help_and_bad_arguments_do_not_import_torch(arguments: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from napari_blindsr.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    heavy = {'torch', 'napari', 'skimage', 'scipy'} & sys.modules.keys()\n"
        "    sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def start_long_run(folder: Path) -> subprocess.Popen[str]:
    """Start a run of very many steps and return once it has begun."""
    arguments = "restore in.tif -o out.tif -s 2 --method mlmc --steps 90000 --report r.json"
    process = subprocess.Popen(
        command(arguments),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "torch" in process.stderr.readline()
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_first_interrupt_keeps_the_result(folder: Path, kind: str) -> None:
    process = start_long_run(folder)
    process.send_signal(getattr(signal, kind))
    _, errors = process.communicate(timeout=PATIENCE)
    # A script can tell it from success, failure and nothing.
    assert process.returncode == 3, errors
    assert "stopping after this step" in errors
    assert json.loads((folder / "r.json").read_text(encoding="utf-8"))["reason"] == "stopped"
    assert read_image(folder / "out.tif").array.shape == (48, 52)


def test_second_interrupt_aborts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = restore.iterate

    def interrupted(*arguments: object, **options: object) -> object:
        """Press Ctrl-C twice once the run goes."""
        yield next(real(*arguments, **options))  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(terminal, "iterate", interrupted)
    arguments = "restore in.tif -o out.tif -s 2 --method mlmc --steps 900"
    assert run_here(arguments, monkeypatch, folder) == 130
    assert capfd.readouterr().err.endswith("napari-blindsr: error: aborted; nothing was written\n")
    assert sorted(path.name for path in folder.iterdir()) == ["in.png", "in.tif"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_of_the_program_is_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    debug: bool,
) -> None:
    cache = tmp_path_factory.mktemp("cache")

    def broken(*_arguments: object, **_options: object) -> object:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(terminal, "iterate", broken)
    monkeypatch.setattr(weights, "cache_folder", lambda: cache)
    arguments = "restore in.tif -o out.tif -s 2"
    assert run_here(f"--debug {arguments}" if debug else arguments, monkeypatch, folder) == 1
    said = capfd.readouterr().err
    assert ("Traceback" in said) == debug
    line = said.splitlines()[-1]
    assert line.startswith("napari-blindsr: error: a bug in this program: ")
    assert "ZeroDivisionError: by nothing" in line
    assert str(cache / "last-error.txt") in line
    assert "in broken" in (cache / "last-error.txt").read_text(encoding="utf-8")


def test_failure_of_the_computation_is_code_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object, **_options: object) -> object:
        raise EngineError("the computation failed:\nof all things")

    monkeypatch.setattr(terminal, "iterate", fail)
    assert run_here("restore in.tif -o out.tif -s 2", monkeypatch, folder) == 1
    message = "napari-blindsr: error: the computation failed: of all things\n"
    assert capfd.readouterr().err == message
    assert not (folder / "out.tif").exists()
