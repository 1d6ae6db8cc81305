"""The profiles of several layers along one line, kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_blindsr._napari.comparing.line import read_line
from napari_blindsr._napari.comparing.planes import read_placed, world_units
from napari_blindsr._napari.comparing.watch import PlaneWatcher
from napari_blindsr.errors import BlindSRError
from napari_blindsr.peak import Peak, fit_peak
from napari_blindsr.placed import PlacedImage
from napari_blindsr.profile import Line, profile_table, sample_line, trace_line

SPACING = 0.5
"""Of the points on the line, in pixels of the finest layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerProfile:
    """The profile of one layer.

    Attributes
    ----------
    name : str
        Of the layer.
    values : ndarray, float64, (n,)
    peak : Peak or None
    trouble : str
        Why there is no peak, or no profile.
    """

    name: str
    values: NDArray[np.float64]
    peak: Peak | None
    trouble: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfileSet:
    """The profiles along one line.

    Attributes
    ----------
    line : Line
    units : tuple of str
        Of the world's two axes.
    profiles : tuple of LayerProfile
    """

    line: Line
    units: tuple[str, str]
    profiles: tuple[LayerProfile, ...]

    @property
    def unit(self) -> str:
        """Unit of the distance."""
        return self.units[1]

    def table(self) -> str:
        """Return the profiles and the fits as CSV."""
        columns: dict[str, NDArray[np.float64]] = {}
        for profile in self.profiles:
            columns[_free(profile.name, columns)] = profile.values
            if profile.peak is not None:
                heading = f"{profile.name}: fit, FWHM {profile.peak.fwhm:.6g} {self.unit}"
                columns[_free(heading, columns)] = profile.peak.at(self.line.distance)
        return profile_table(self.line, columns, units=self.units)


class Profiles:
    """Samples layers along a line, anew whenever the line, a layer or the slice changes.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Image
    shapes : Shapes
    width : float
        Across which the mean is taken, in units of the world.

    Attributes
    ----------
    changed : Signal
        Emitted with a `ProfileSet`, or a `BlindSRError` that says why there is none.
    """

    changed = Signal(object)

    def __init__(
        self, viewer: ViewerModel, layers: Sequence[Image], shapes: Shapes, *, width: float
    ) -> None:
        self._viewer, self._layers, self._shapes = viewer, list(layers), shapes
        self._placed: dict[Image, PlacedImage | BlindSRError] = {}
        self.width = width
        self._watcher = PlaneWatcher(viewer, layers, self._read_anew)
        self._line_watcher = PlaneWatcher(viewer, [shapes], self.update, moving=True)

    def remove(self) -> None:
        """Follow changes no more."""
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
        """Return the profiles.

        Raises
        ------
        InputError
            If there is no line.
        """
        vertices = read_line(self._shapes, self._viewer)
        placed = [self._read(layer) for layer in self._layers]
        sizes = [image.pixel_size for image in placed if isinstance(image, PlacedImage)]
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

    def _read(self, layer: Image) -> PlacedImage | BlindSRError:
        # Kept, because a line that is dragged asks for it many times a second.
        if layer not in self._placed:
            try:
                self._placed[layer] = read_placed(layer, self._viewer)
            except BlindSRError as error:
                self._placed[layer] = error
        return self._placed[layer]

    def _profile(self, name: str, image: PlacedImage | BlindSRError, line: Line) -> LayerProfile:
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
    """Return a heading that no column has yet; layers may share a name."""
    number, free = 1, heading
    while free in taken:
        number += 1
        free = f"{heading} ({number})"
    return free
