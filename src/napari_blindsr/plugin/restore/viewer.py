"""A sample and its result in a viewer, for the demonstration."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_blindsr.evaluation.samples import Sample
    from napari_blindsr.restoration.result import Result


def why_not() -> str | None:
    """Return why no viewer can be opened here, or None if one can."""
    unix = sys.platform not in ("win32", "darwin")
    if unix and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    bindings = ("PyQt6", "PySide6", "PyQt5", "PySide2")
    if find_spec("napari") is None or not any(find_spec(name) for name in bindings):
        return "napari with Qt is not installed; pip install 'napari-blindsr[gui]' brings it"
    return None


def fill_viewer(viewer: napari.Viewer, sample: Sample, result: Result) -> None:
    """Add the layers of a sample and of its result, the dock, and a comparison of both."""
    # Without napari, `why_not` still has to say so.
    from napari.layers import Image, Layer  # noqa: PLC0415

    from napari_blindsr.plugin.compare.dock import open_comparison  # noqa: PLC0415
    from napari_blindsr.plugin.layers.outputs import result_layers  # noqa: PLC0415
    from napari_blindsr.plugin.layers.read import read_layer  # noqa: PLC0415
    from napari_blindsr.plugin.layers.sample_data import sample_layers  # noqa: PLC0415
    from napari_blindsr.plugin.layers.versions import fit_view  # noqa: PLC0415

    sample, result = _same_kernel_size(sample, result)
    for layer_data in sample_layers(sample):
        viewer.add_layer(Layer.create(*layer_data))
    source = read_layer(viewer.layers[sample.name], viewer.dims)
    restored = [
        viewer.add_layer(Layer.create(*layer_data)) for layer_data in result_layers(result, source)
    ]
    _, dock = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    dock.image.value = viewer.layers[sample.name]
    image = next(layer for layer in reversed(restored) if isinstance(layer, Image))
    pair = [viewer.layers[sample.name], image]
    open_comparison(viewer, pair)
    fit_view(viewer, pair)


def _same_kernel_size(sample: Sample, result: Result) -> tuple[Sample, Result]:
    """Pad the smaller kernel, so that both lie on each other and can be compared."""
    from napari_blindsr.metrics.kernel import same_size  # noqa: PLC0415

    estimated, true = same_size(result.kernel, sample.kernel)
    missing = (len(estimated) - len(result.kernel)) // 2
    row, column = result.kernel_center
    center = (row + missing, column + missing)
    return (
        replace(sample, kernel=true),
        replace(result, kernel=estimated, kernel_center=center),
    )


def open_viewer(sample: Sample, result: Result) -> None:
    """Show a sample and its result in napari; returns when the viewer is closed."""
    import napari  # noqa: PLC0415
    from qtpy.QtCore import QTimer  # noqa: PLC0415

    from napari_blindsr.plugin.layers.versions import fit_view  # noqa: PLC0415

    viewer = napari.Viewer()
    fill_viewer(viewer, sample, result)
    # Again when the docks have taken their room.
    QTimer.singleShot(0, lambda: fit_view(viewer, _visible(viewer)))
    napari.run()


def _visible(viewer: napari.Viewer) -> list[Layer]:
    return [layer for layer in viewer.layers if layer.visible]
