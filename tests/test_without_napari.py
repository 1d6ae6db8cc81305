from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

WITHOUT_NAPARI = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"napari", "qtpy", "PyQt6", "PySide6"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize(
    "code",
    [
        "import napari_blindsr; napari_blindsr.restore",
        "import napari_blindsr.cli.app",
        "from napari_blindsr.plugin.restore.viewer import why_not; assert why_not()",
    ],
)
def test_napari_is_not_needed(code: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_NAPARI + code],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


COMMANDS = (
    "restore a.tif -o b.tif -s 2",
    "restore stack.tif -o b.ome.tif -s 2 --axes TYX",
    "kernel a.tif -s 2",
    "measure a.tif",
    "demo",
)


def test_the_command_line_needs_neither_napari_nor_qt(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).poisson(100, (2, 24, 24)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0])
    tifffile.imwrite(tmp_path / "stack.tif", pixels)
    code = f"""
from napari_blindsr.cli.app import main

for command in {COMMANDS!r}:
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None), command
"""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_NAPARI + code],
        cwd=tmp_path,
        # Without a display the demonstration does not look for napari.
        env={"PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
