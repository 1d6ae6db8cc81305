"""How large an image and its result are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_blindsr._napari.region import read_region
from napari_blindsr._napari.stacks import layer_layout
from napari_blindsr.layout import parse_selection

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_blindsr._napari.controls import RunForm
    from napari_blindsr._napari.inputs import Plane


def size_text(form: RunForm, plane: Plane, viewer: ViewerModel) -> str:
    """Return how large image and result are, in one line.

    Parameters
    ----------
    form : RunForm
    plane : Plane
        The one on display.
    viewer : napari.components.ViewerModel

    Raises
    ------
    InputError
        If the region or the planes that are asked for are not there.
    """
    layer, extent, scale = form.image_row.value, form.extent, form.scale_row.value
    many = extent.is_stack(layer)
    if many:
        extent.show_axes(layer, plane)
    region = read_region(extent.region.value, layer, plane, viewer, any_slice=many)
    height, width = plane.shape if region is None else region.shape
    parts = [f"{height} × {width} → {scale * height} × {scale * width} px"]
    if many:
        wanted = extent.options(region, "float32").planes
        count = math.prod(map(len, parse_selection(wanted, layer_layout(layer, plane))))
        parts.append(f"{count} planes" if count > 1 else "1 plane")
    return " · ".join(parts)
