"""Frames a second of the curtain and of blink, in a real viewer.

xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/compare.py [--seconds 5]
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from vispy.gloo import gl

from napari_blindsr.plugin.compare.dock import CompareWidget, open_comparison

CASES = {
    "2048² and 2048²": (2048, 2048),
    "2048² and 4096²": (2048, 4096),
}
WINDOW = (1400, 900)
PERIOD = 60
"""Frames in which the edge goes from one side to the other."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    options = parser.parse_args()
    for name, sides in CASES.items():
        measure(name, sides, options.seconds)


def measure(name: str, sides: tuple[int, int], seconds: float) -> None:
    """Print the frames a second for two layers of these sides on the same place."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    rng = np.random.default_rng(0)
    layers = []
    for number, side in enumerate(sides):
        size = max(sides) / side
        layers.append(
            viewer.add_image(
                rng.random((side, side), dtype=np.float32),
                name=f"layer {number}",
                scale=(size, size),
                translate=((size - 1) / 2, (size - 1) / 2),
            )
        )
    widget = open_comparison(viewer, layers)
    viewer.reset_view()
    canvas = viewer.window._qt_viewer.canvas  # noqa: SLF001 napari tells nowhere else of a drawing
    for _ in range(20):
        QApplication.processEvents()
    if name == next(iter(CASES)):
        height, width = canvas.size
        print(f"{gl.glGetParameter(gl.GL_RENDERER)}; canvas {width} × {height} pixels")
    curtain = frames(canvas, sweep(widget), seconds)
    print(f"{name}: curtain {curtain:.1f} frames/s", flush=True)
    widget.mode.value = "blink"
    widget.rate.value = 0.2
    blink: Any = widget._session.mode  # noqa: SLF001 its timer would pace it
    print(f"{name}: blink {frames(canvas, itertools.repeat(blink.advance), seconds):.1f} frames/s")
    viewer.close()


def sweep(widget: CompareWidget) -> Iterator[Callable[[], None]]:
    """Yield what moves the edge to and fro, a step each."""
    curtain: Any = widget._session.mode  # noqa: SLF001 as the mouse does, without its events
    low, high = 0.0, float(2 * curtain.edges[0])
    for step in itertools.count():
        part = abs((step / PERIOD) % 2 - 1)

        def move(position: float = low + part * (high - low)) -> None:
            curtain.move(0, position)

        yield move


def frames(canvas: Any, steps: Iterator[Callable[[], None]], seconds: float) -> float:
    """Return how many steps a second are drawn, each before the next is taken."""
    drawn = 0

    def count(_: Any) -> None:
        nonlocal drawn
        drawn += 1

    canvas.events.draw.connect(count, position="last")
    start, taken = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        before = drawn
        next(steps)()
        while drawn == before:
            QApplication.processEvents()
        gl.glFinish()
        taken += 1
    canvas.events.draw.disconnect(count)
    return taken / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
