"""How large an image and its result are, and what they take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from napari_blindsr._napari.devices import computes_in_half, free_memory
from napari_blindsr._napari.region import read_region
from napari_blindsr._napari.stacks import layer_layout
from napari_blindsr.errors import SettingsError
from napari_blindsr.footprint import estimate_memory, result_memory
from napari_blindsr.layout import chain_axis, parse_selection

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_blindsr._napari.controls import RunForm
    from napari_blindsr._napari.inputs import Plane

MUCH = 0.25
"""Share of the free memory from which on a result had better go to disk."""
TOO_MUCH = 0.9
"""Share of the free memory that a run must not take."""


def size_text(form: RunForm, plane: Plane, viewer: ViewerModel) -> str:
    """Return how large image and result are, and how much memory a run takes, in one line.

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
    count = 1
    if many:
        wanted = extent.options(region, "float32").planes
        layout = layer_layout(layer, plane)
        selection = parse_selection(wanted, layout)
        count = math.prod(map(len, selection))
        form.show_neighbours(followed=chain_axis(layout.loop_axes, selection) is not None)
        parts.append(f"{count} planes" if count > 1 else "1 plane")
    memory = memory_text(form, (height, width), channels=3 if layer.rgb else 1, planes=count)
    return " · ".join([*parts, *memory])


def memory_text(form: RunForm, shape: tuple[int, int], *, channels: int, planes: int) -> list[str]:
    """Return how much memory a run takes of what is free, and what to do if that is too much.

    Parameters
    ----------
    form : RunForm
    shape : tuple of int
        (h, w) of what is restored.
    channels : int
    planes : int
        How many there are.
    """
    try:
        settings = form.settings()
    except SettingsError:
        # Run says what is wrong with them.
        return []
    to_file = isinstance(form.advanced.folder.value, Path)
    held = 0 if to_file else planes
    half = computes_in_half(settings.device, settings.precision, form.found)
    needed = estimate_memory(shape, channels, settings, planes=held, half=half)
    free = free_memory(settings.device, form.found)
    parts = [f"about {gigabytes(needed)} of {gigabytes(free)} free"]
    large = held * result_memory(shape, channels, settings) > MUCH * free
    if large:
        parts.append("large: Write to Zarr (Advanced) keeps the result on disk")
    if needed > TOO_MUCH * free:
        parts.append("it may not fit: choose a Region, or smaller Tiles (Advanced)")
    return parts


def gigabytes(count: int) -> str:
    """Return a number of bytes for people."""
    value = count / 1e9
    if value < 0.095:
        return f"{max(10, round(count / 1e7) * 10)} MB"
    return f"{value:.1f} GB" if value < 9.95 else f"{value:.0f} GB"
