"""Make the pictures and the animation of the documentation: a real viewer, samples, and run.

Needs a display of at least 1400×900:
xvfb-run -a -s "-screen 0 1400x900x24" python docs/screenshots.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from napari.layers import Layer
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_blindsr.evaluation.demo import demo_sample
from napari_blindsr.evaluation.samples import fluorescence, fluorescent_cells
from napari_blindsr.methods import METHODS
from napari_blindsr.physics.simulate import Degradation, degrade_field, gaussian_kernel
from napari_blindsr.plugin.compare.profiles import LINE_NAME
from napari_blindsr.plugin.layers.sample_data import sample_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_blindsr.evaluation.samples import Sample
    from napari_blindsr.plugin.restore.dock import RestoreWidget
LINE_UM = np.array([[7.5, 1.2], [7.0, 3.6]])
"""Ends of a line across a filament of the sample, in µm."""
WIDTHS = np.geomspace(0.6, 1.5, 7)
"""Standard deviations of a blur from left to right, in pixels of the image."""
OPTICS = (1.2, 520)
"""Numerical aperture, and wavelength in nm, that might have made the sample."""
ANIMATION = (980, 630)
"""Width and height of the animation, in pixels."""
STEPS = 300
"""Steps of a run that is shown while it goes on."""
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Save pictures of a run, its result, the options, a comparison, and a measurement."""
    parts = {
        "options": show_options,
        "comparison": show_comparison,
        "measurement": show_measurement,
        "field": show_field,
        "animation": show_animation,
        "run": show_run,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(parts), metavar="|".join(parts))
    parser.add_argument("--output", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    for part in options.parts:
        parts[part](options.output)


def show_run(output: Path) -> None:
    """Run the demonstration's sample; save the window during a fit, a queue, and a result."""
    viewer, widget = open_viewer(demo_sample())
    widget.method.value = "mlmc"
    widget.steps.value, widget.channels.value = STEPS, 32
    widget.run_button.native.click()
    wait(lambda: widget.progress.value >= 0.4 * STEPS)
    save(viewer, output / "dock.png")
    show_queue(widget)
    save(viewer, output / "queue.png")
    widget.queue.drop_waiting()
    widget.cancel_button.native.click()
    wait(lambda: widget.run_button.enabled)
    widget.method.value = METHODS[0]
    widget.run_button.native.click()
    wait(lambda: widget.run_button.enabled)
    save(viewer, output / "result.png")
    viewer.close()


def show_queue(widget: RestoreWidget) -> None:
    """Let runs of another method wait for the one that goes on."""
    scale, widget.method.value = widget.scale.value, METHODS[0]
    for widget.scale.value in (2, scale):
        widget.queue_button.native.click()
    wait(lambda: True)


def show_options(output: Path) -> None:
    """Save the dock with the options of a method and a family that have many."""
    viewer, widget = open_viewer(fluorescence())
    mask = np.zeros(widget.image.value.data.shape, np.uint8)
    mask[20:26, 30:44] = 1
    image = widget.image.value
    dust = viewer.add_labels(mask, name="dust", scale=image.scale, units=image.units)
    widget.method.value, widget.kernel.value = "ddsr", "airy"
    widget.advanced.value = True
    widget.mask.value, widget.noise.value = dust, "auto"
    save(viewer, output / "options.png")
    viewer.close()


def show_comparison(output: Path) -> None:
    """Save a curtain over a sample and its result, a line through both, and the difference."""
    viewer, widget = open_viewer(fluorescence())
    widget.run_button.native.click()
    wait(lambda: widget.run_button.enabled)
    widget.compare_button.native.click()
    comparison = viewer.window.dock_widgets["Compare layers (napari-blindsr)"]
    comparison.profile.draw.native.click()
    comparison.linked.value = True
    line = viewer.layers[LINE_NAME]
    line.data = [LINE_UM / line.scale]
    save(viewer, output / "compare.png")
    comparison.mode.value = "difference"
    save(viewer, output / "difference.png")
    viewer.close()


def show_animation(output: Path) -> None:
    """Save the way from a sample to a curtain over image and result, as an animation."""
    viewer, widget = open_viewer(fluorescence())
    frames: list[Image.Image] = []
    times: list[int] = []

    def show(milliseconds: int) -> None:
        window = Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False))
        frames.append(window.convert("RGB").resize(ANIMATION))
        times.append(milliseconds)

    show(1500)
    widget.run_button.native.click()
    wait(lambda: widget.run_button.enabled)
    show(2000)
    widget.compare_button.native.click()
    comparison = viewer.window.dock_widgets["Compare layers (napari-blindsr)"]
    comparison.linked.value = True
    # From the middle to the left, to the right, and back.
    for position in 0.5 + 0.4 * np.sin(np.linspace(0, -2 * np.pi, 25)):
        comparison.position.value = position
        wait(lambda: True)
        show(120)
    viewer.close()
    # One palette: of the frame with the most colours.
    palette = frames[1].quantize(128)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(
        output / "demo.gif", save_all=True, append_images=others, duration=times, loop=0,
        optimize=True,
    )  # fmt: skip


def show_measurement(output: Path) -> None:
    """Save the numbers of a result beside its residual, and one of their curves."""
    sample = fluorescence()
    viewer, widget = open_viewer(sample)
    widget.run_button.native.click()
    wait(lambda: widget.run_button.enabled)
    dock, measuring = viewer.window.add_plugin_dock_widget(
        "napari-blindsr", "Measure quality", tabify=True
    )
    dock.show()
    dock.raise_()
    form = measuring.form
    form.reference.value = viewer.layers[f"{sample.name}: truth ×{sample.scale}"]
    form.numerical_aperture.value, form.wavelength.value = OPTICS
    measuring.measure_button.native.click()
    wait(lambda: measuring.measure_button.enabled)
    result = form.image.value
    measuring.add_map("residual")
    save(viewer, output / "measure.png")
    viewer.layers.selection.active = result
    viewer.layers[-1].visible = False
    panel = measuring.panel
    panel.tabs.setCurrentWidget(panel.curves)
    panel.curves.choice.setCurrentText("Decorrelation analysis")
    save(viewer, output / "curves.png")
    viewer.close()


def show_field(output: Path) -> None:
    """Save an image whose blur grows from left to right, and the kernels of its regions."""
    viewer, widget = open_viewer(fluorescence())
    viewer.layers.clear()
    kernels = [gaussian_kernel(((2 * w) ** 2,) * 2, 0.0, scale=2, size=21) for w in WIDTHS]
    cells = fluorescent_cells((280, 376), seed=4)
    made = degrade_field(
        cells / cells.max(), np.stack(kernels)[None], Degradation(scale=2, noise=0.003)
    )
    viewer.add_image(made.image, name="softer on the right")
    widget.scale.value = 2
    widget.advanced.value = True
    widget.field.value = (2, 4)
    widget.run_button.native.click()
    wait(lambda: widget.run_button.enabled)
    save(viewer, output / "field.png")
    viewer.close()


def open_viewer(sample: Sample) -> tuple[napari.Viewer, RestoreWidget]:
    """Open a viewer with a sample and the dock."""
    viewer = napari.Viewer()
    # After it was shown, because then napari restores the size that it had last.
    viewer.window.resize(1400, 900)
    for layer_data in sample_layers(sample):
        viewer.add_layer(Layer.create(*layer_data))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    wait(lambda: "looking" not in widget.torch_line.value)
    return viewer, widget


def wait(condition: Callable[[], bool]) -> None:
    """Keep the GUI going until a condition holds, and half a second for it to be painted."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        QApplication.processEvents()


def save(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window, once it is painted."""
    wait(lambda: True)
    Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
