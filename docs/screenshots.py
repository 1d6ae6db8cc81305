"""Make the pictures of the documentation: a real viewer, a real sample, a real run.

Needs a display of at least 1400×900:
xvfb-run -a -s "-screen 0 1400x900x24" python docs/screenshots.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.layers import Layer
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_blindsr._napari.sample_data import sample_layers
from napari_blindsr.demo import demo_sample

if TYPE_CHECKING:
    from collections.abc import Callable
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Open the demonstration's sample, run, and save a picture during the run and one after it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)

    viewer = napari.Viewer()
    # After it was shown, because then napari restores the size that it had last.
    viewer.window.resize(1400, 900)
    for layer_data in sample_layers(demo_sample()):
        viewer.add_layer(Layer.create(*layer_data))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    viewer.reset_view(layers=[layer for layer in viewer.layers if layer.visible], margin=0.08)
    wait(lambda: "looking" not in widget.torch_line.value)
    widget.steps.value = options.steps
    widget.run_button.native.click()
    wait(lambda: widget.progress.value >= 0.4 * options.steps)
    save(viewer, options.output / "dock.png")
    wait(lambda: widget.run_button.enabled)
    viewer.reset_view(layers=[layer for layer in viewer.layers if layer.visible], margin=0.08)
    wait(lambda: True)
    save(viewer, options.output / "result.png")
    viewer.close()


def wait(condition: Callable[[], bool]) -> None:
    """Keep the GUI going until a condition holds, and half a second for it to be painted."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        QApplication.processEvents()


def save(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window."""
    Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
