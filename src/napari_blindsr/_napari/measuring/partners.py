"""Which layers belong to a result, as far as its metadata tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer

from napari_blindsr._napari.comparing.picker import is_picture
from napari_blindsr._napari.known_kernel import holds_field, holds_own_kernel
from napari_blindsr._napari.outputs import METADATA_KEY, is_result

if TYPE_CHECKING:
    from napari_blindsr.measure import Measurement

RUN = ("source", "settings", "seconds")
"""What tells one run from another: both layers of a run have the same report."""
MAP_OF = "map_of"
"""In the record of a map: the layer that was measured."""


def record_of(layer: Layer) -> dict[str, Any]:
    """Return what our metadata of a layer say; nothing of layers that are not ours."""
    record = layer.metadata.get(METADATA_KEY)
    return record if isinstance(record, dict) else {}


def is_restored(layer: Layer | None) -> bool:
    """Tell whether a layer is the image of a result."""
    return isinstance(layer, Image) and is_result(layer) and record_of(layer)["kind"] == "image"


def can_be_measured(layer: Layer) -> bool:
    """Tell whether a layer is an image: no kernel, no difference, no map of a measurement."""
    return is_picture(layer) and not holds_own_kernel(layer) and MAP_OF not in record_of(layer)


def find_source(result: Image, layers: Iterable[Layer]) -> Image | None:
    """Return the layer that a result was made from, by its name, if it is there."""
    source = record_of(result).get("source")
    name = source.get("layer") if isinstance(source, dict) else None
    for layer in layers:
        if layer.name == name and layer is not result and can_be_measured(layer):
            found: Image = layer
            return found
    return None


def find_kernel(result: Image, layers: Iterable[Layer]) -> Image | None:
    """Return the layer of the kernel of the same run, if it is there."""
    if not is_restored(result):
        return None
    record = record_of(result)
    for layer in layers:
        other = record_of(layer)
        same = all(other.get(name) == record.get(name) for name in RUN)
        # Measures take one kernel for the whole image.
        if same and isinstance(layer, Image) and holds_own_kernel(layer) and not holds_field(layer):
            return layer
    return None


def keep_measurements(
    layer: Layer, measurements: Sequence[Measurement], measured_with: dict[str, Any]
) -> None:
    """Put values into the metadata of the layer that was measured, as plain JSON types.

    Parameters
    ----------
    layer : Layer
    measurements : sequence of Measurement
    measured_with : dict
        What they rest on.
    """
    from napari_blindsr.measure import to_metadata  # noqa: PLC0415

    record = {
        **record_of(layer),
        "measurements": to_metadata(measurements),
        "measured_with": measured_with,
    }
    # Copies of a layer share what is inside of its metadata, so nothing inside is changed.
    layer.metadata = {**layer.metadata, METADATA_KEY: record}
