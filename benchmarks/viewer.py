"""The plugin in a real viewer: stalls, opening, height, memory, previews, long use.

    scripts/with-display python benchmarks/viewer.py [--runs 3] [--soak 200]

Drives napari as a user does, and prints one row for each figure. ``--runs`` repeats the run of MLMC
whose memory is measured: what grows from run to run is not given back. ``--soak`` makes that many
runs in one viewer, half of them cancelled at a random moment, and compares what is left of them
with what the same viewer keeps of the same layers without any run.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLUGIN = "napari-blindsr"
DOCK = "Blind super-resolution"
QUIET, PAINTED = 1.0, 0.05
"""Seconds to wait until a viewer has painted all that it has, or a change."""
NAP = 0.002
"""Seconds that the event loop rests in each turn, as it does when nothing happens."""
STEPS = 60
"""Steps of the run of MLMC whose memory is measured."""


class Stalls:
    """Finds the longest time in which the event loop did nothing else, and its longest work.

    Work is the processor time of the main thread, which says more on a busy machine.
    """

    def __init__(self) -> None:
        self._longest = self._most = 0.0
        self._last, self._done = time.perf_counter(), time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(0)

    def _tick(self) -> None:
        now, done = time.perf_counter(), time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._most = max(self._most, done - self._done)
        self._last, self._done = now, done

    def stop(self) -> str:
        """Return the longest stall and the longest work in milliseconds."""
        self._timer.stop()
        return f"{1000 * self._longest:.0f}, {1000 * self._most:.0f}"


def wait(seconds: float) -> None:
    """Let the event loop run."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        handle_events()


def handle_events() -> None:
    """Let the event loop run once, and leave the processor to the run."""
    QApplication.processEvents()
    time.sleep(NAP)


def run(widget: Any, between: Callable[[], None] = handle_events) -> float:
    """Press Run, wait for the end; return the seconds it took."""
    began = time.perf_counter()
    widget.run_button.native.click()
    while not widget.run_button.enabled:
        between()
    return time.perf_counter() - began


def blurred(side: int) -> np.ndarray[Any, Any]:
    """Return an image to restore."""
    noise = np.random.default_rng(0).normal(size=(side, side))
    return np.asarray(1000 + 4000 * gaussian_filter(noise, 2), np.float32)


def megabytes() -> float:
    """Return the memory of this process."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def opened() -> tuple[Any, Any, str]:
    """Return a viewer with an image, the dock in it, and the seconds and the work that it took."""
    viewer = napari.Viewer()
    viewer.add_image(blurred(128), name="cells")
    wait(QUIET)
    began, done = time.perf_counter(), time.thread_time()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    QApplication.processEvents()
    taken = f"{time.perf_counter() - began:.2f}, {time.thread_time() - done:.2f}"
    return viewer, widget, taken


def stall_of_fast(viewer: Any, widget: Any) -> tuple[str, str]:
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


def memory_of_mlmc(viewer: Any, widget: Any) -> tuple[float, float, float, float]:
    """Return the memory before, the most during, and after a run, and its seconds."""
    process, most = psutil.Process(), 0.0

    def watch() -> None:
        nonlocal most
        handle_events()
        most = max(most, float(process.memory_info().rss) / 1e6)

    before = megabytes()
    seconds = run(widget, watch)
    forget(viewer, kept=2)
    wait(QUIET)
    return before, most, megabytes(), seconds


@contextmanager
def timed_previews() -> Iterator[dict[str, float]]:
    """Measure the seconds that making previews and curves, and showing them, takes within this."""
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
        yield spent


def forget(viewer: Any, kept: int = 1) -> list[Any]:
    """Remove all layers but the first ones; return what they were."""
    layers = viewer.layers[kept:]
    added = [layer.as_layer_data_tuple() for layer in layers]
    for layer in layers:
        # napari ends the process in Mesa's OpenGL if two go between two paints.
        viewer.layers.remove(layer)
        wait(PAINTED)
    return added


def soaked(runs: int) -> list[list[str]]:
    """Return what many runs in one viewer leave behind."""
    rng = np.random.default_rng(0)
    viewer, widget, _ = opened()
    viewer.layers[0].data = blurred(48)

    def left() -> tuple[float, int, int]:
        wait(QUIET)
        return megabytes(), threading.active_count(), psutil.Process().num_fds()

    # What is loaded once is no growth.
    for _ in range(10):
        run(widget)
        layers = forget(viewer)
    before = left()
    for _ in range(runs):
        cancelled = rng.random() < 0.5
        end = time.perf_counter() + rng.uniform(0, 0.4)
        widget.run_button.native.click()
        while not widget.run_button.enabled:
            handle_events()
            if cancelled and time.perf_counter() > end and widget.cancel_button.enabled:
                widget.cancel_button.native.click()
        forget(viewer)
    after = left()
    for _ in range(runs // 2):
        for layer in layers:
            viewer.add_layer(napari.layers.Layer.create(*layer))
        wait(0.1)
        forget(viewer)
    alone = left()
    viewer.close()
    names = ("memory (MB)", "threads", "handles")
    return [
        [f"{name}: growth by {runs} runs, and without runs", f"{b - a:.0f}, {c - b:.0f}"]
        for name, a, b, c in zip(names, before, after, alone, strict=True)
    ]


def figures_of_mlmc(viewer: Any, widget: Any, runs: int) -> Iterator[list[str]]:
    """Return memory and time of previews of MLMC from 64² to 128², with a truth to compare to."""
    forget(viewer)
    viewer.layers[0].data = blurred(64)
    widget.truth.value = viewer.add_image(np.kron(blurred(64), np.ones((2, 2))), name="truth")
    widget.image.value = viewer.layers[0]
    widget.method.value, widget.scale.value, widget.steps.value = "mlmc", 2, 5
    # A step of all channels takes seconds on a busy machine.
    widget.channels.value = 32
    # What is loaded once is no growth.
    run(widget)
    forget(viewer, kept=2)
    widget.steps.value = STEPS
    for number in range(1, runs + 1):
        with timed_previews() as spent:
            before, most, after, seconds = memory_of_mlmc(viewer, widget)
        memory = f"{before:.0f}, {most:.0f}, {after:.0f}"
        yield [f"memory before, during, after MLMC of {STEPS} steps, run {number} (MB)", memory]
        parts = {name: 100 * value / seconds for name, value in spent.items()}
        listed = ", ".join(f"{name} {part:.1f}" for name, part in parts.items())
        yield [
            f"previews and curves, part of its {seconds:.0f} s (%)",
            f"{sum(parts.values()):.1f}: {listed}",
        ]


def figures(runs: int) -> Iterator[list[str]]:
    """Return all figures but those of long use; the memory of so many runs of MLMC."""
    # The first viewer of a process loads what napari itself needs.
    first, _, taken = opened()
    yield ["dock opens, first in the process (s, work)", taken]
    first.close()
    viewer, widget, taken = opened()
    yield ["dock opens (s, work)", taken]
    wait(5)
    own, napari_alone = stall_of_fast(viewer, widget)
    yield ["longest stall of fast to 256² (ms, work)", own]
    yield ["napari alone, the same layers (ms, work)", napari_alone]
    for name in ("Compare layers", "Measure quality"):
        viewer.window.add_plugin_dock_widget(PLUGIN, name)
    wait(QUIET)
    window = widget.native.window()
    yield ["least height with all docks (px)", f"{window.minimumSizeHint().height()}"]
    if runs:
        yield from figures_of_mlmc(viewer, widget, runs)
    viewer.close()


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--soak", type=int, default=0)
    given = parser.parse_args()
    if given.soak:
        table("Long use", ["figure", "value"], soaked(given.soak))
        return
    table("The plugin in a viewer", ["figure", "value"], figures(given.runs))


if __name__ == "__main__":
    main()
