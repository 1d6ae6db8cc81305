"""Whatever a file holds, a command ends soon, with one line if it fails, and leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

# Both import torch, which can take longer than anything else.
from napari_blindsr.cli import app, batch, terminal
from tests.hostile.cases import Case, all_cases, basics

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of POSIX")

CASES = all_cases()
SAMPLE = 41
"""Of how many cases one is among the quick ones; prime, so that no format is left out."""

PATIENCE = 60
"""Seconds after which a command hangs."""


def test_there_are_enough() -> None:
    assert batch is not None
    assert terminal is not None
    assert len(CASES) >= 1500
    assert len({case.name for case in CASES}) == len(CASES)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> set[str]:
    """Return what is in a folder, chunks of Zarr folders aside."""
    return {entry.name for entry in os.scandir(folder)}


def check(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    basics(folder)
    arguments = [
        part.format(out="out.npy") if part == "{out}" else part for part in case.make(folder)
    ]
    out = arguments[arguments.index("-o") + 1]
    before = listing(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["napari-blindsr", *arguments])
    with within(PATIENCE), pytest.raises(SystemExit) as end:
        app.main()
    captured = capfd.readouterr()
    assert end.value.code in (0, 1, 2), captured.err
    assert "Traceback" not in captured.err
    assert "a bug in this program" not in captured.err
    left = listing(folder) - before
    if end.value.code == 2:
        assert not left
    # Of a stack with a damaged plane the others are delivered, with code 1.
    stem = Path(out).stem
    assert left <= {Path(out).name, f"{stem}.json", f"{stem}.kernel.npy"}
    if end.value.code == 2 or not left:
        line = captured.err.splitlines()[-1]
        assert line.startswith("napari-blindsr: error: "), captured.err
    assert "hacked" not in listing(folder)


@pytest.mark.parametrize("case", CASES[::SAMPLE], ids=lambda case: ascii(case.name)[1:-1])
def test_a_sample_of_bad_inputs(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check(case, tmp_path, monkeypatch, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[1:-1])
def test_all_bad_inputs(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check(case, tmp_path, monkeypatch, capfd)
