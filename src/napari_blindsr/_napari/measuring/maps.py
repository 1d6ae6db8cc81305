"""From a map of what was measured to a layer, exactly over what it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr._napari.colormaps import DIVERGING
from napari_blindsr._napari.measuring.partners import MAP_OF
from napari_blindsr._napari.measuring.place import Place
from napari_blindsr._napari.outputs import METADATA_KEY, LayerData
from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from napari_blindsr.measure import Layer

QUANTILE = 0.999
"""Of the values, which the colours span: single pixels shall not pale the rest."""


def map_layer(found: Layer, *, of: str, place: Place) -> LayerData:
    """Return a map as layer data.

    Parameters
    ----------
    found : Layer
    of : str
        Name of the layer that was measured.
    place : Place
        Of the pixels that the map has: the image's or the source's, as its grid says.

    Raises
    ------
    InputError
        If there is no map, or it has no value anywhere.
    """
    if found.map is None:
        raise InputError(f"there is no {found.kind.label}: {found.reason}")
    values = found.map.values
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError(f"the {found.kind.label} has no value anywhere")
    limit = float(np.quantile(np.abs(finite), QUANTILE)) or 1.0
    attributes: dict[str, Any] = {
        **place.attributes(),
        "name": f"{of}: {found.kind.label}",
        "colormap": DIVERGING if found.map.diverging else "inferno",
        "contrast_limits": (-limit if found.map.diverging else 0.0, limit),
        "metadata": {
            METADATA_KEY: {"kind": found.kind.name, MAP_OF: of, "unit": found.map.unit},
        },
    }
    return np.expand_dims(values, place.plane.others), attributes, "image"
