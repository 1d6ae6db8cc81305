"""A script that ends while a thread is at work ends in peace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import PATIENCE

# Each starts napari in a process of its own.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("qapp")]

OPEN = """
import sys
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

viewer = napari.Viewer(show=False)
viewer.add_image(np.random.default_rng(0).random((24, 24), np.float32))
_, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
"""
UNTIL_DEVICES_ARE_LOOKED_FOR = """
while widget._probe.answer is None:
    QApplication.processEvents()
assert not widget._probe.answer.done()
"""
UNTIL_A_RUN_IS_UNDER_WAY = """
widget.scale.value, widget.method.value = 2, "mlmc"
widget.run_button.native.click()
while widget.progress.value < 1:
    QApplication.processEvents()
    time.sleep(0.01)
"""
UNTIL_THE_BLUR_IS_READ = """
widget.scale.value = 2
assert widget.method.value == "fast"
widget.run_button.native.click()
while widget.status.value == "Starting …":
    QApplication.processEvents()
    time.sleep(0.01)
"""


def errors_of(script: str, end: str = "viewer.close()") -> str:
    """Run a script in an open viewer, close it, and return what went to standard error."""
    run = subprocess.run(
        # torch 2.2 warns of itself.
        [sys.executable, "-W", "ignore:torch.distributed.reduce_op", "-c", OPEN + script + end],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stderr


@pytest.mark.parametrize(
    "until",
    [UNTIL_DEVICES_ARE_LOOKED_FOR, UNTIL_A_RUN_IS_UNDER_WAY, UNTIL_THE_BLUR_IS_READ],
    ids=["looking for devices", "running", "reading"],
)
def test_leaving_early(until: str) -> None:
    assert "deleted" not in errors_of(until)


CANCEL_A_RUN_THAT_IS_WATCHED = """
# The fewer pixels are painted, the more often.
viewer.window.resize(640, 480)
viewer.window.show()
widget.scale.value, widget.method.value, widget.channels.value = 2, "mlmc", 32
widget.run_button.native.click()
while not any("PSF preview" in layer.name for layer in viewer.layers):
    QApplication.processEvents()
    time.sleep(0.01)
widget.cancel_button.native.click()
end = time.monotonic() + 2
while time.monotonic() < end or len(viewer.layers) > 1:
    # The canvas is painted without the previews.
    viewer.camera.zoom *= 1.001
    QApplication.processEvents()
    time.sleep(0.01)
# Where Mesa has loaded LLVM, torch loads no triton, which ended the process.
maps = Path("/proc/self/maps")
if maps.exists() and "libLLVM" in maps.read_text():
    assert "triton" in sys.modules
"""


def test_previews_can_be_removed_while_the_canvas_is_painted() -> None:
    # Two layers that were removed between two paints ended the process in OpenGL.
    errors_of(CANCEL_A_RUN_THAT_IS_WATCHED)


CLOSE_WHILE_RUNS_WAIT = """
from qtpy.QtCore import QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QMessageBox

class UserClose(QCloseEvent):
    def spontaneous(self):
        return True

def answer(button):
    box = QApplication.activeModalWidget()
    asked.append(box.text())
    box.button(button).click()

def close(button):
    QTimer.singleShot(100, lambda: answer(button))
    QApplication.sendEvent(window, UserClose())
    for _ in range(50):
        QApplication.processEvents()
        time.sleep(0.01)

asked = []
window = widget.native.window()
window.show()
widget.queue_button.native.click()
worker, run, waiting = widget._worker, widget._run, widget.queue.entries[1].run
close(QMessageBox.StandardButton.Cancel)
assert asked == ["2 runs are not finished and will be lost. Close anyway?"], asked
assert window.isVisible()
assert not worker.abort_requested
assert [entry.state for entry in widget.queue.entries] == ["running", "waiting"]
close(QMessageBox.StandardButton.Close)
assert len(asked) == 2, asked
assert worker.abort_requested
assert waiting.request is None
while worker.is_running or run.request is not None:
    QApplication.processEvents()
assert widget._run in (run, None)
"""


def test_closing_asks_once_while_runs_wait() -> None:
    # As on a click into the corner of the window, which has closed by then.
    assert not errors_of(UNTIL_A_RUN_IS_UNDER_WAY + CLOSE_WHILE_RUNS_WAIT, end="")
