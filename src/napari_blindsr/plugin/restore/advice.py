"""How much finer an image can usefully be, estimated in the background when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.QtCore import QTimer

from napari_blindsr.plugin.layers.stacks import layer_array, layer_layout

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_blindsr.plugin.layers.inputs import Plane


SIDE = 256
"""Largest side, in pixels, of the middle of an image that is used for the estimate."""
PERIOD = 100
"""Milliseconds between two checks for an answer."""


class ScaleAdvice:
    """Suggests a scale for a layer; `text` is empty until there is a suggestion.

    A layer is estimated once, unless it gets other data; `changed` is called when the text changes.
    """

    def __init__(self, parent: QWidget, changed: Callable[[], None]) -> None:
        self.text = ""
        self._changed = changed
        self._asked: tuple[ref[Image], int] | None = None
        self._answer: Future[int | None] | None = None
        # As a child of the dock it ends with it.
        self._timer = QTimer(parent)
        self._timer.timeout.connect(self._look)

    def ask(self, layer: Image, plane: Plane) -> None:
        """Begin the estimate for the plane on display. Call it on the main thread."""
        asked = self._asked
        if asked is not None and asked == (ref(layer), id(layer.data)):
            return
        # A layer that is removed is not kept alive here.
        self._asked, self.text = (ref(layer), id(layer.data)), ""
        executor = ThreadPoolExecutor(max_workers=1)
        self._answer = executor.submit(_suggested, *_middle(layer, plane))
        executor.shutdown(wait=False)
        self._timer.start(PERIOD)

    def forget(self) -> None:
        """Drop what was found: there is no image."""
        self._asked, self._answer, self.text = None, None, ""
        self._timer.stop()

    def _look(self) -> None:
        if self._answer is None or not self._answer.done():
            return
        self._timer.stop()
        scale, self._answer = self._answer.result(), None
        if scale is not None:
            self.text = f"Suggested: ×{scale}. A finer grid adds pixels, but hardly any detail."
        self._changed()


def _middle(layer: Image, plane: Plane) -> tuple[Any, tuple[slice, slice], str]:
    """Return a plane, where its middle lies, and its axes; lazy pixels are read later."""
    starts = [max(0, (length - SIDE) // 2) for length in plane.shape]
    rows, columns = (slice(start, start + SIDE) for start in starts)
    cut = [slice(0, 1) if at is None else slice(at, at + 1) for at in plane.index]
    cut[plane.axes[0]], cut[plane.axes[1]] = rows, columns
    layout = layer_layout(layer, plane)
    index = tuple(at for at in plane.index if at is not None)
    pixels = layout.plane(layer_array(layer, cut), index)
    return pixels, (rows, columns), layout.plane_axes


def _suggested(pixels: Any, place: tuple[slice, slice], axes: str) -> int | None:
    """Return the scale for an image; None if it cannot be estimated."""
    try:
        # Not before now: this imports torch, which takes seconds.
        from napari_blindsr.restoration.evidence import suggested_scale  # noqa: PLC0415

        return suggested_scale(np.asarray(pixels[place]), axes=axes)
    except Exception:  # noqa: BLE001 - of any kind: pressing Run says what is wrong with an image
        return None
