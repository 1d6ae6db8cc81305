"""The plugin in a real viewer: stalls, opening, height, memory, previews, long use.

    scripts/with-display python benchmarks/viewer.py [--soak 200]

Drives napari as a user does, and prints one row for each figure. ``--soak`` makes that many runs in
one viewer, half of them cancelled at a random moment, and compares what is left of them with what
the same viewer keeps of the same layers without any run.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import napari
import numpy as np
import psutil
from cases import table
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

from napari_blindsr.plugin.restore.course import CoursePanel
from napari_blindsr.plugin.restore.preview import PreviewLayers, Previews

PLUGIN = "napari-blindsr"
DOCK = "Blind super-resolution"
QUIET, PAINTED = 1.0, 0.05
"""Seconds to wait until a viewer has painted all that it has, or a change."""


class Stalls:
    """Finds the longest time in which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(0)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def restart(self) -> None:
        """Forget what was found so far."""
        self.longest, self._last = 0.0, time.perf_counter()

    def stop(self) -> float:
        """Return the longest stall in milliseconds."""
        self._timer.stop()
        return 1000 * self.longest


def wait(seconds: float) -> None:
    """Let the event loop run."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()


def run(widget: Any) -> float:
    """Press Run, wait for the end; return the seconds it took."""
    began = time.perf_counter()
    widget.run_button.native.click()
    while not widget.run_button.enabled:
        QApplication.processEvents()
    return time.perf_counter() - began


def blurred(side: int) -> np.ndarray[Any, Any]:
    """Return an image to restore."""
    noise = np.random.default_rng(0).normal(size=(side, side))
    return np.asarray(1000 + 4000 * gaussian_filter(noise, 2), np.float32)


def megabytes() -> float:
    """Return the memory of this process."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def opened() -> tuple[Any, Any, float]:
    """Return a viewer with an image, the dock in it, and the seconds that this took."""
    viewer = napari.Viewer()
    viewer.add_image(blurred(128), name="cells")
    wait(QUIET)
    began = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    QApplication.processEvents()
    return viewer, widget, time.perf_counter() - began


def stall_of_fast(viewer: Any, widget: Any) -> tuple[float, float]:
    """Return the longest stall of a run to 256², and that of napari adding the same layers."""
    run(widget)
    wait(QUIET)
    before = len(viewer.layers)
    stalls = Stalls()
    run(widget)
    wait(QUIET)
    own = stalls.stop()
    layers = [layer.as_layer_data_tuple() for layer in viewer.layers[before:]]
    stalls = Stalls()
    for layer in layers:
        viewer.add_layer(napari.layers.Layer.create(*layer))
    wait(QUIET)
    return own, stalls.stop()


def memory_of_mlmc(widget: Any) -> tuple[float, float, float]:
    """Return the memory before, the most during, and after a run of 60 steps."""
    widget.method.value, widget.steps.value = "mlmc", 5
    run(widget)
    before, most = megabytes(), 0.0
    widget.steps.value = 60
    widget.run_button.native.click()
    while not widget.run_button.enabled:
        QApplication.processEvents()
        most = max(most, float(psutil.Process().memory_info().rss) / 1e6)
    wait(QUIET)
    return before, most, megabytes()


def cost_of_previews(widget: Any) -> dict[str, float]:
    """Return what parts of a run's time it takes to make previews and curves, and to show them."""
    # Not before a plot is needed, as in the dock.
    from napari_blindsr.plugin.widgets.plot import Plot  # noqa: PLC0415

    spent = dict.fromkeys(("made", "layers shown", "curves shown", "curves painted"), 0.0)

    def timed(name: str, function: Any) -> Any:
        def call(*given: Any) -> Any:
            began = time.perf_counter()
            result = function(*given)
            spent[name] += time.perf_counter() - began
            return result

        return call

    places: list[tuple[Any, str]] = [
        (Previews, "of"),
        (PreviewLayers, "show"),
        (CoursePanel, "show_curves"),
        (Plot, "paintEvent"),
    ]
    with ExitStack() as stack:
        for name, (kind, method) in zip(spent, places, strict=True):
            function = timed(name, getattr(kind, method))
            stack.enter_context(patch.object(kind, method, function))
        seconds = run(widget)
    return {name: value / seconds for name, value in spent.items()}


def soaked(runs: int) -> list[list[str]]:
    """Return what many runs in one viewer leave behind."""
    rng = np.random.default_rng(0)
    viewer, widget, _ = opened()
    viewer.layers[0].data = blurred(48)

    def left() -> tuple[float, int, int]:
        wait(QUIET)
        return megabytes(), threading.active_count(), psutil.Process().num_fds()

    def forget() -> list[Any]:
        layers = viewer.layers[1:]
        added = [layer.as_layer_data_tuple() for layer in layers]
        for layer in layers:
            # napari ends the process in Mesa's OpenGL if two go between two paints.
            viewer.layers.remove(layer)
            wait(PAINTED)
        return added

    # What is loaded once is no growth.
    for _ in range(10):
        run(widget)
        layers = forget()
    before = left()
    for _ in range(runs):
        cancelled = rng.random() < 0.5
        end = time.perf_counter() + rng.uniform(0, 0.4)
        widget.run_button.native.click()
        while not widget.run_button.enabled:
            QApplication.processEvents()
            if cancelled and time.perf_counter() > end and widget.cancel_button.enabled:
                widget.cancel_button.native.click()
        forget()
    after = left()
    for _ in range(runs // 2):
        for layer in layers:
            viewer.add_layer(napari.layers.Layer.create(*layer))
        wait(0.1)
        forget()
    alone = left()
    viewer.close()
    names = ("memory (MB)", "threads", "handles")
    return [
        [f"{name}: growth by {runs} runs, and without runs", f"{b - a:.0f}, {c - b:.0f}"]
        for name, a, b, c in zip(names, before, after, alone, strict=True)
    ]


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=int, default=0)
    given = parser.parse_args()
    if given.soak:
        table("Long use", ["figure", "value"], soaked(given.soak))
        return
    rows = []
    # The first viewer of a process loads what napari itself needs.
    first, _, seconds = opened()
    rows.append(["dock opens, first in the process (s)", f"{seconds:.2f}"])
    first.close()
    viewer, widget, seconds = opened()
    rows.append(["dock opens (s)", f"{seconds:.2f}"])
    wait(5)
    own, napari_alone = stall_of_fast(viewer, widget)
    rows.append(["longest stall of fast to 256² (ms)", f"{own:.0f}"])
    rows.append(["napari alone, the same layers (ms)", f"{napari_alone:.0f}"])
    for name in ("Compare layers", "Measure quality"):
        viewer.window.add_plugin_dock_widget(PLUGIN, name)
    wait(QUIET)
    window = widget.native.window()
    rows.append(["least height with all docks (px)", f"{window.minimumSizeHint().height()}"])
    # A step of MLMC takes long enough on a smaller image.
    viewer.layers[0].data = blurred(64)
    before, most, after = memory_of_mlmc(widget)
    rows.append(["memory before, during, after 60 steps of MLMC from 64² (MB)"])
    rows[-1].append(f"{before:.0f}, {most:.0f}, {after:.0f}")
    widget.truth.value = viewer.add_image(np.kron(blurred(64), np.ones((4, 4))), name="truth")
    widget.image.value = viewer.layers[0]
    parts = {name: 100 * part for name, part in cost_of_previews(widget).items()}
    rows.append(["previews and curves, part of an MLMC run from 64² (%)"])
    rows[-1].append(
        f"{sum(parts.values()):.1f}: " + ", ".join(f"{n} {p:.1f}" for n, p in parts.items())
    )
    table("The plugin in a viewer", ["figure", "value"], rows)
    viewer.close()


if __name__ == "__main__":
    main()
