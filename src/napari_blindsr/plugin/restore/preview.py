"""The latest estimate of an optimisation, as layers that sharpen during the run, and its curves."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_blindsr.errors import InputError
from napari_blindsr.images.planes import Planes, to_intensities
from napari_blindsr.plugin.layers.inputs import LayerInput
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, as_rgb, beside, finer_frame
from napari_blindsr.plugin.layers.read import run_planes

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_blindsr.plugin.restore.course import Course
    from napari_blindsr.plugin.widgets.curves import Shown
    from napari_blindsr.progress import Progress
    from napari_blindsr.settings import Settings

PERIOD = 0.4
"""Least time between two previews, in seconds."""
COST = 0.02
"""Largest part of the time that making and showing them may take."""
PAINTED = 100
"""Milliseconds after which the canvas was painted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """The latest image and kernel, and the curves up to it.

    The image (H, W) or (H, W, 3) is in the source's intensities; image and point spread function
    (K, K) are None if the optimisation sees a part of the source only.
    """

    pictures: tuple[NDArray[Any], NDArray[np.float32]] | None
    curves: dict[str, Shown]


class Previews:
    """Makes previews of a plane in the thread of a run, no more often than their cost allows.

    Attributes
    ----------
    course : Course
        What all reports have said.
    shown : float
        Seconds that the dock took to show the latest preview.
    """

    def __init__(self, source: LayerInput | None, settings: Settings, course: Course) -> None:
        self._source = None if source is None or source.options is not None else source
        self._settings = settings
        self._planes: Planes | None = None
        self._next = 0.0
        self.course, self.shown = course, 0.0

    def of(self, report: Progress) -> Preview | None:
        """Take in a report, and return a preview of it, if one is due."""
        began = time.perf_counter()
        if self._source is None or report.latest is None:
            return None
        try:
            self.course.take(report)
            if began < self._next:
                return None
            made = self._made(self._source, report)
        except InputError:
            # The run says what is wrong with its source.
            self._source = None
            return None
        except Exception:  # noqa: BLE001 - of any kind
            # The run must not end with what is only shown of it.
            _log.exception("A preview could not be made.")
            self._source = None
            return None
        ended = time.perf_counter()
        self._next = ended + max(PERIOD, (ended - began + self.shown) / COST)
        return made

    def _made(self, source: LayerInput, report: Progress) -> Preview:
        pictures = self._pictures(source, report.latest)
        if pictures is not None:
            self.course.compare(report.step, pictures[0])
        return Preview(pictures=pictures, curves=self.course.curves())

    def _pictures(
        self, source: LayerInput, latest: Any
    ) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
        """Return the image and the point spread function of an estimate; None of a part."""
        height, width = (self._settings.scale * n for n in source.restored_shape)
        canvas = latest.image
        margins = [
            (have - want) // 2
            for have, want in zip(canvas.shape[-2:], (height, width), strict=True)
        ]
        if min(margins) < 0:
            return None
        if self._planes is None:
            self._planes = run_planes(source, self._settings)
        top, left = margins
        part = canvas[:, top : top + height, left : left + width].detach().float().cpu().numpy()
        values = to_intensities(part, self._planes)
        image = values[0]
        if source.is_rgb:
            image = as_rgb(np.moveaxis(values, 0, -1), source.kind)
        kernel = latest.kernel.detach().float().cpu().numpy()
        return image, np.ascontiguousarray(kernel[::-1, ::-1])


class PreviewLayers:
    """Two layers, of the image and of the point spread function, that exist during the run."""

    def __init__(self, viewer: ViewerModel, is_open: Callable[[], bool]) -> None:
        self._viewer, self._is_open = viewer, is_open
        self._layers: tuple[Image, ...] = ()

    def show(self, preview: Preview, source: LayerInput, settings: Settings) -> list[Image]:
        """Show a preview over its source and beside it; return the layers that were added."""
        if preview.pictures is None:
            return []
        pictures = [source.plane.expanded(picture) for picture in preview.pictures]
        if self._layers:
            for layer, picture in zip(self._layers, pictures, strict=True):
                # Whoever removed one does not want to see it.
                if layer in self._viewer.layers:
                    # To set the data would also make its extent anew, which takes longer than this.
                    layer.data[...] = picture
                    layer.refresh(extent=False, highlight=False)
                    layer.events.data(value=layer.data)
            psf = self._layers[1]
            psf.contrast_limits = (0.0, float(pictures[1].max()))
            return []
        active = self._viewer.layers.selection.active
        self._layers = tuple(
            self._viewer.add_layer(layer) for layer in _layers(pictures, source, settings)
        )
        self._viewer.layers.selection.active = active
        return list(self._layers)

    def remove(self) -> None:
        """Remove both layers, the second one once the canvas was painted without the first.

        If two layers go between two paints, drawing with Mesa's OpenGL ends the process.
        """
        layers, self._layers = self._layers, ()
        for number, layer in enumerate(layers):
            if number == 0:
                self._remove(layer)
            else:
                QTimer.singleShot(number * PAINTED, partial(self._remove, layer))

    def _remove(self, layer: Image) -> None:
        # The viewer may have been closed meanwhile: its window is gone then, or about to go.
        with suppress(RuntimeError):
            if self._is_open() and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def _layers(pictures: list[NDArray[Any]], source: LayerInput, settings: Settings) -> list[Image]:
    # What needs torch is loaded by the run by now.
    from napari_blindsr.physics.observation import phase  # noqa: PLC0415

    scale = settings.scale
    frame = finer_frame(source, scale=scale, offset=phase(scale, settings.geometry))
    metadata = {METADATA_KEY: {"kind": "preview", "source": {"layer": source.name}}}
    image = Image(
        pictures[0],
        name=f"{source.name} ×{scale} preview",
        rgb=source.is_rgb,
        metadata=metadata,
        **source.appearance.attributes(rgb=source.is_rgb),
        **frame.attributes(),
    )
    psf = Image(
        pictures[1],
        name=f"{source.name} PSF preview",
        colormap="inferno",
        contrast_limits=(0.0, float(pictures[1].max())),
        metadata=metadata,
        **beside(frame, source.frame, source.plane, pictures[1].shape[-2:]).attributes(),
    )
    return [image, psf]
