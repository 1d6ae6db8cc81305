"""Importing the package and showing the dock are cheap, and do not load torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import PATIENCE

SHOW = """
import json, sys, time
start = time.thread_time()
import napari
viewer = napari.Viewer(show=False)
# What napari and its Qt widgets cost is theirs.
import magicgui.widgets
opened = time.thread_time()
import napari_blindsr
_, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
share = (time.thread_time() - opened) / (opened - start)
loaded = "torch" in sys.modules
text = widget.torch_line.value
from qtpy.QtWidgets import QApplication
deadline = time.monotonic() + 240
while "looking" in widget.torch_line.value and time.monotonic() < deadline:
    QApplication.processEvents()
    time.sleep(0.01)
print(json.dumps([share, loaded, text, widget.torch_line.value, list(widget.device.choices)]))
viewer.close()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("qapp")  # Skips, or fails, as the viewer tests do.
def test_showing_the_dock_is_quick_and_loads_no_torch() -> None:
    # Compiling the source is no part of it: that happens once an installation, not once a start.
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    measured: list[float] = []
    # A share of what napari itself takes, about 1.5 s on an idle machine, does not depend on what
    # else is running; the least of a few runs is the dock's own.
    while len(measured) < 2 or (min(measured) >= 0.2 and len(measured) < 5):
        run = subprocess.run(
            [sys.executable, "-c", SHOW],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        share, loaded, before, after, choices = json.loads(run.stdout.splitlines()[-1])
        measured.append(share)
        assert not loaded
    assert min(measured) < 0.2, measured
    assert before.startswith("torch ")
    assert "looking for devices" in before
    # Then the devices arrive by themselves.
    assert after.endswith("CPU")
    assert choices[0] == "auto"
    assert "cpu" in choices


OTHERS = """
import sys
import napari
viewer = napari.Viewer(show=False)
for name in ("Compare layers", "Measure quality"):
    viewer.window.add_plugin_dock_widget("napari-blindsr", name)
print([name for name in ("torch", "pyqtgraph") if name in sys.modules])
viewer.close()
"""


@pytest.mark.usefixtures("qapp")
def test_showing_the_other_docks_loads_neither_torch_nor_plots() -> None:
    run = subprocess.run(
        [sys.executable, "-c", OTHERS],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("napari_blindsr", ["torch", "napari", "qtpy", "magicgui"]),
        ("napari_blindsr.settings", ["torch", "napari", "qtpy", "magicgui"]),
        ("napari_blindsr.restoration.restore", ["napari", "qtpy", "magicgui"]),
    ],
)
def test_importing_loads_no_more_than_needed(module: str, unwanted: list[str]) -> None:
    code = f"import sys, {module}; print([m for m in {unwanted} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert run.stdout.strip() == "[]"
