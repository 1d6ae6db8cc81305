"""The layers that belong to a result, and maps as layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.compare.difference import DIVERGING
from napari_blindsr.plugin.compare.picker import is_picture
from napari_blindsr.plugin.layers.inputs import Frame, Plane
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, LayerData, is_restored, record_of
from napari_blindsr.plugin.layers.read import holds_field, holds_own_kernel

if TYPE_CHECKING:
    from napari_blindsr.metrics.measure import Layer as MeasuredMap
    from napari_blindsr.metrics.measure import Measurement


RUN = ("source", "settings", "seconds")
"""Entries that identify a run: all layers of a run have the same report."""
MAP_OF = "map_of"
"""Key in the record of a map: the name of the measured layer."""


def can_be_measured(layer: Layer) -> bool:
    """Tell whether a layer is an image, but no kernel, difference or map."""
    return is_picture(layer) and not holds_own_kernel(layer) and MAP_OF not in record_of(layer)


def find_source(result: Image, layers: Iterable[Layer]) -> Image | None:
    """Return the layer that a result was made from, by its name, or None."""
    source = record_of(result).get("source")
    name = source.get("layer") if isinstance(source, dict) else None
    for layer in layers:
        if layer.name == name and layer is not result and can_be_measured(layer):
            found: Image = layer
            return found
    return None


def find_kernel(result: Image, layers: Iterable[Layer]) -> Image | None:
    """Return the layer of the kernel of the same run, or None."""
    if not is_restored(result):
        return None
    record = record_of(result)
    for layer in layers:
        other = record_of(layer)
        same = all(other.get(name) == record.get(name) for name in RUN)
        # Scores take one kernel for the whole image.
        if same and isinstance(layer, Image) and holds_own_kernel(layer) and not holds_field(layer):
            return layer
    return None


def keep_measurements(
    layer: Layer, measurements: Sequence[Measurement], measured_with: dict[str, Any]
) -> None:
    """Put values, and what they depend on, into the metadata of the measured layer."""
    from napari_blindsr.metrics.measure import to_metadata  # noqa: PLC0415

    record = {
        **record_of(layer),
        "measurements": to_metadata(measurements),
        "measured_with": measured_with,
    }
    # Copies of a layer share what is inside of its metadata, so nothing inside is changed.
    layer.metadata = {**layer.metadata, METADATA_KEY: record}


QUANTILE = 0.999
"""Quantile of the values at which the colours end: single pixels shall not pale the rest."""


def map_layer(found: MeasuredMap, *, of: str, frame: Frame, plane: Plane) -> LayerData:
    """Return a map on a plane as layer data; raises an `InputError` if it has no values.

    `of` is the name of the measured layer.
    """
    if found.map is None:
        raise InputError(f"there is no {found.kind.label}: {found.reason}")
    values = found.map.values
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError(f"the {found.kind.label} has no value anywhere")
    limit = float(np.quantile(np.abs(finite), QUANTILE)) or 1.0
    attributes: dict[str, Any] = {
        **frame.attributes(),
        "name": f"{of}: {found.kind.label}",
        "colormap": DIVERGING if found.map.diverging else "inferno",
        "contrast_limits": (-limit if found.map.diverging else 0.0, limit),
        "metadata": {
            METADATA_KEY: {"kind": found.kind.name, MAP_OF: of, "unit": found.map.unit},
        },
    }
    return plane.expanded(values), attributes, "image"
