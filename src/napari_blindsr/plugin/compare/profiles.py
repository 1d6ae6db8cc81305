"""Profiles of several layers along a line of a Shapes layer, updated when these change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.metrics.line_profile import (
    Line,
    Peak,
    fit_peak,
    profile_table,
    sample_line,
    trace_line,
)
from napari_blindsr.metrics.spatial_image import SpatialImage
from napari_blindsr.plugin.compare.planes import (
    PlaneWatcher,
    plane_axes,
    read_placed,
    world_factors,
    world_units,
)
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.read import quoted
from napari_blindsr.plugin.layers.versions import shared_units

SPACING = 0.5
"""Of the points on the line, in pixels of the finest layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerProfile:
    """The profile (n,) of one layer, its strongest peak, and why that or the profile is missing."""

    name: str
    values: NDArray[np.float64]
    peak: Peak | None
    trouble: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfileSet:
    """The profiles along one line, and the units of the two world axes."""

    line: Line
    units: tuple[str, str]
    profiles: tuple[LayerProfile, ...]

    @property
    def unit(self) -> str:
        """Unit of the distance."""
        return self.units[1]

    def table(self) -> str:
        """Return profiles and fits as CSV."""
        columns: dict[str, NDArray[np.float64]] = {}
        for profile in self.profiles:
            columns[_free(profile.name, columns)] = profile.values
            if profile.peak is not None:
                heading = f"{profile.name}: fit, FWHM {profile.peak.fwhm:.6g} {self.unit}"
                columns[_free(heading, columns)] = profile.peak.at(self.line.distance)
        return profile_table(self.line, columns, units=self.units)


class Profiles:
    """Samples layers along a line again whenever the line, a layer or the slice changes.

    `width`, in world units, is averaged over. `changed` is emitted with a `ProfileSet`, or with the
    `BlindSRError` that says why there is none.
    """

    changed = Signal(object)

    def __init__(
        self, viewer: ViewerModel, layers: Sequence[Image], shapes: Shapes, *, width: float
    ) -> None:
        self._viewer, self._layers, self._shapes = viewer, list(layers), shapes
        self._placed: dict[Image, SpatialImage | BlindSRError] = {}
        self.width = width
        self._watcher = PlaneWatcher(viewer, layers, self._read_anew)
        self._line_watcher = PlaneWatcher(viewer, [shapes], self.update, moving=True)

    def remove(self) -> None:
        """Disconnect."""
        self._watcher.remove()
        self._line_watcher.remove()
        self._placed = {}

    def update(self) -> None:
        """Sample the layers along the line."""
        result: ProfileSet | BlindSRError
        try:
            result = self.compute()
        except BlindSRError as error:
            result = error
        self.changed.emit(result)

    def compute(self) -> ProfileSet:
        """Return the profiles; raises an `InputError` if there is no line."""
        vertices = read_line(self._shapes, self._viewer)
        placed = [self._read(layer) for layer in self._layers]
        sizes = [image.pixel_size for image in placed if isinstance(image, SpatialImage)]
        if not sizes:
            raise next(image for image in placed if isinstance(image, BlindSRError))
        line = trace_line(vertices, SPACING * min(sizes))
        return ProfileSet(
            line=line,
            units=world_units(self._viewer),
            profiles=tuple(
                self._profile(layer.name, image, line)
                for layer, image in zip(self._layers, placed, strict=True)
            ),
        )

    def _read_anew(self) -> None:
        self._placed = {}
        self.update()

    def _read(self, layer: Image) -> SpatialImage | BlindSRError:
        # Kept, because a line that is dragged asks for it many times a second.
        if layer not in self._placed:
            try:
                self._placed[layer] = read_placed(layer, self._viewer)
            except BlindSRError as error:
                self._placed[layer] = error
        return self._placed[layer]

    def _profile(self, name: str, image: SpatialImage | BlindSRError, line: Line) -> LayerProfile:
        if isinstance(image, BlindSRError):
            nothing = np.full(len(line.distance), np.nan)
            return LayerProfile(name=name, values=nothing, peak=None, trouble=str(image))
        values = sample_line(image, line, width=self.width)
        try:
            peak = fit_peak(line.distance, values)
        except BlindSRError as error:
            return LayerProfile(name=name, values=values, peak=None, trouble=str(error))
        return LayerProfile(name=name, values=values, peak=peak)


def _free(heading: str, taken: dict[str, Any]) -> str:
    """Return a heading that no other column has; layers may share a name."""
    number, free = 1, heading
    while free in taken:
        number += 1
        free = f"{heading} ({number})"
    return free


LINE_KINDS = ("line", "path")
LINE_NAME = "Profile line"
LINE_COLOUR = "#ffcc1a"
SPAN = 0.5
"""Length of a new line, in widths of the finest layer."""
THICKNESS = 0.004
"""Thickness of a new line, likewise."""


def read_line(layer: Shapes, viewer: ViewerModel) -> NDArray[np.float64]:
    """Return the vertices (m, 2) of the selected, or else the last, line in the world.

    Raises an `InputError` if there is none.
    """
    lines = [number for number, kind in enumerate(layer.shape_type) if kind in LINE_KINDS]
    if not lines:
        raise InputError(f"{quoted(layer)} has no line; draw one with its line or path tool")
    selected = [number for number in lines if number in layer.selected_data]
    vertices = Frame.of_layer(layer).to_world(layer.data[(selected or lines)[-1]])
    # A layer's axes are the last ones of the viewer.
    axes = [axis - (viewer.dims.ndim - layer.ndim) for axis in plane_axes(viewer)]
    if min(axes) < 0:
        raise InputError(f"{quoted(layer)} lies across the axes on display; draw another line")
    world: NDArray[np.float64] = (vertices * world_factors(layer, viewer))[:, axes]
    return world


def add_line(viewer: ViewerModel, images: Sequence[Image]) -> Shapes:
    """Add a layer with a line across the middle of images, selected so that it can be moved.

    Raises an `InputError` unless a plane of them along the last two axes is on display.
    """
    ndim = viewer.dims.ndim
    if plane_axes(viewer) != (ndim - 2, ndim - 1):
        raise InputError("the viewer shows other axes than the last two; bring these on display")
    finest = min(
        (read_placed(image, viewer) for image in images), key=lambda image: image.pixel_size
    )
    low, high = finest.bounds()
    middle, half = (low + high) / 2, SPAN / 2 * (high - low)
    size, width = finest.pixel_size, float(high[1] - low[1])
    line = np.array([[middle[0], middle[1] - half[1]], [middle[0], middle[1] + half[1]]])
    # The line lies in the world on display, whose units are those of all layers.
    units = shared_units(viewer.layers)
    layer = viewer.add_shapes(
        [line / size],
        shape_type="line",
        name=LINE_NAME,
        scale=(size, size),
        units=images[0].units[-2:] if units is None else units[-2:],
        edge_color=LINE_COLOUR,
        edge_width=max(THICKNESS * width / size, 0.5),
    )
    layer.mode = "select"
    layer.selected_data = {0}
    return layer
