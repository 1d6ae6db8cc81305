"""Running the command line from tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_blindsr.cli import app
from napari_blindsr.methods import Schedule
from tests.helpers import PATIENCE, PRECISION

COMMAND = [sys.executable, "-m", "napari_blindsr"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def command(arguments: str) -> list[str]:
    """Return what runs the command line in a process of its own, in the precision of the tests."""
    words = arguments.split()
    precise = words[:1] in (["restore"], ["evaluate"])
    return [*COMMAND, *words, *(["--precision", PRECISION] if precise else [])]


def call(arguments: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def picture(shape: tuple[int, ...] = (24, 26)) -> np.ndarray:
    """Return a smooth 8-bit picture."""
    rows, columns = np.indices(shape[:2])
    grey = 120 + 90 * np.sin(rows / 3) * np.cos(columns / 4)
    stack = grey if len(shape) == 2 else np.stack([grey, 255 - grey, grey / 2], axis=-1)
    return np.asarray(np.rint(stack), dtype=np.uint8)


def narrow_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the named schedules of this process cheap: narrow networks, hardly a warm-up."""
    cheap = Schedule(warmup_steps=2, channels=8)
    monkeypatch.setattr(Schedule, "named", lambda _name, **_: cheap)


def run_here(arguments: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    """Run the same entry point in this process, which is quicker by the import of torch."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["napari-blindsr", *arguments.split()])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def check_refused(
    arguments: str,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Check that bad input ends in one line and exit code 2, and that nothing is written."""
    before = _state(folder)
    code = run_here(arguments, monkeypatch, folder)
    captured = capfd.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("napari-blindsr: error: ")
    assert message in captured.err
    assert _state(folder) == before


def _state(folder: Path) -> dict[Path, int]:
    """Return every path of a folder with the time of its last change, 0 for a folder."""
    return {path: path.stat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")}
