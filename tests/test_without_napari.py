from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_NAPARI = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"napari", "qtpy", "PyQt6"}:
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
