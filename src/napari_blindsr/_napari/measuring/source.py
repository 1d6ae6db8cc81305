"""The source of a result, as its run took it: which part of it, and what of that was covered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import LayerList

from napari_blindsr._napari.inputs import LayerInput
from napari_blindsr._napari.layers import quoted, read_layer
from napari_blindsr._napari.masks import read_mask
from napari_blindsr._napari.measuring.place import Place
from napari_blindsr.arrays import find_covered
from napari_blindsr.parts import Box

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What an image was made from.

    Attributes
    ----------
    data : ndarray, (h, w) or (h, w, 3)
    place : Place
    covered : ndarray, bool, (h, w), or None
        What the run took for not measured.
    notes : tuple of str
        What the user should know.
    """

    data: NDArray[Any]
    place: Place
    covered: NDArray[np.bool_] | None
    notes: tuple[str, ...]


def read_source(
    layer: Image,
    record: dict[str, Any],
    layers: LayerList,
    dims: Dims,
    *,
    fine: tuple[int, int],
) -> Source:
    """Read a source. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
    record : dict
        What the result's metadata say of its run; may be empty.
    layers : LayerList
        The viewer's: the mask that the run was given is looked for there.
    dims : napari.components.Dims
    fine : tuple of int
        (H, W) of the result.

    Raises
    ------
    InputError
        If the layer cannot be read.
    """
    source = read_layer(layer, dims)
    told = record.get("source", {})
    notes: tuple[str, ...] = ()
    covered = None
    if told.get("layer") == layer.name:
        if told.get("sha256") == source.provenance()["sha256"]:
            covered, notes = _read_covered(source, record, layers, dims)
        else:
            notes = (f"{quoted(layer)} now shows other pixels than the result was made from",)
    box = _region(record, source.plane.shape, fine)
    return Source(
        data=source.data[box.slices],
        place=Place(frame=source.frame, plane=source.plane, corner=(box.top, box.left)),
        covered=None if covered is None else covered[box.slices],
        notes=(*source.notes, *notes),
    )


def _region(record: dict[str, Any], shape: tuple[int, int], fine: tuple[int, int]) -> Box:
    """Return which part of the source a result is of: all, unless it tells of a smaller one."""
    told = record.get("region")
    if told is not None:
        top, left, bottom, right = told
        box = Box(top=top, left=left, bottom=bottom, right=right)
        if box.scaled(record["scale"]).shape == fine:
            return box
    return Box.whole(shape)


def _read_covered(
    source: LayerInput, record: dict[str, Any], layers: LayerList, dims: Dims
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return what the run took for not measured, and what to say if that is not known any more."""
    told = record["source"].get("mask")
    mask: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    if told is not None:
        layer = next((layer for layer in layers if layer.name == told["layer"]), None)
        found = None if layer is None else read_mask(layer, source, dims)
        if found is not None and found.provenance()["sha256"] == told["sha256"]:
            mask = found.covered
        else:
            notes = (f"the mask '{told['layer']}' is gone or changed: what it covered counts",)
    saturated = bool(record["settings"].get("mask_saturated", False))
    covered = find_covered(source.data, axes=source.axes, mask=mask, saturated=saturated)
    return (covered if covered.any() else None), notes
