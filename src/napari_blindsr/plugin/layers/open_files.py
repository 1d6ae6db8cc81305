"""Image files as napari layers: one a channel, lazy, with pixel sizes, units, names and colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pint
from napari.utils.colormaps import Colormap
from napari.utils.notifications import show_warning

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import UNNAMED
from napari_blindsr.images.files import open_image
from napari_blindsr.images.metadata import ChannelDisplay
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, LayerData

if TYPE_CHECKING:
    from napari_blindsr.images.metadata import Description, ImageFile


SUFFIXES = (".tif", ".tiff", ".zarr")
MOST_IMAGES = 100
"""Most images in one file."""
HELD = 1 << 28
"""Largest single plane, in bytes, that is read at once; others are read when they are shown."""
TILE = 2048
"""Side of the chunks in which large planes are read, in pixels."""

PALETTES = {2: ("00FF00", "FF00FF")}
PALETTE = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF")
"""Colours of channels to which the file gives none."""
NAMED = {
    "FF0000": "red",
    "00FF00": "green",
    "0000FF": "blue",
    "00FFFF": "cyan",
    "FF00FF": "magenta",
    "FFFF00": "yellow",
    "FFFFFF": "gray",
}

Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader of a file, or None for other files. napari calls this."""
    if not isinstance(path, str) and len(path) != 1:
        return None
    name = path if isinstance(path, str) else path[0]
    return read_file if Path(name).suffix.lower() in SUFFIXES else None


def read_file(path: str | Sequence[str]) -> list[LayerData]:
    """Open a TIFF file (plain, ImageJ, OME) or an OME-Zarr folder as layers.

    Raises a `FileError` or an `InputError`, as `open_image` does.
    """
    file = Path(path if isinstance(path, str) else path[0])
    layers = []
    for series, opened in _images(file):
        for note in opened.description.notes:
            show_warning(f"{file.name}: {note}")
        layers += file_layers(opened, file, series)
    return layers


def _images(file: Path) -> list[tuple[int | None, ImageFile]]:
    """Open a file's image, or its images with their numbers if it holds several."""
    try:
        return [(None, open_image(file))]
    except InputError:
        # The file may hold several images: all are opened.
        opened: list[tuple[int | None, ImageFile]] = []
        for number in range(MOST_IMAGES):
            try:
                opened.append((number, open_image(file, series=number)))
            except InputError:
                break
        if not opened:
            raise
        return opened


def file_layers(file: ImageFile, path: Path, series: int | None = None) -> list[LayerData]:
    """Return an image as layers, one a channel, with the looks that the file says.

    Channels without a name are named after the path. `series` is the number of the image in a file
    with several.
    """
    description = file.description
    axes = description.axes
    array = lazy(file)
    stem = path.name.split(".")[0] or path.name
    has_channels = "C" in axes
    count = file.array.shape[axes.index("C")] if has_channels else 1
    layers = []
    for channel in range(count):
        data, name = array, stem
        if has_channels:
            data = array[(slice(None),) * axes.index("C") + (channel,)]
            own = description.channel_names[channel] if description.channel_names else ""
            name = own or f"{stem} channel {channel + 1}"
        kept = _held(data, axes.replace("C", ""))
        layers.append(
            _layer(
                kept,
                description,
                path=path,
                series=series,
                name=name,
                channel=channel,
                count=count,
            )
        )
    return layers


def lazy(file: ImageFile, *, tile: int = TILE) -> Any:
    """Return an image as an array that reads tiles of a plane, in pixels a side, when needed."""
    sides = dict.fromkeys("YX", tile)
    chunks = tuple(
        min(sides.get(axis, n if axis == "S" else 1), n)
        for axis, n in zip(file.description.axes, file.array.shape, strict=True)
    )
    return da.from_array(file.array, chunks=chunks, fancy=False)


def _held(array: Any, axes: str) -> Any:
    """Return a single plane in memory, and a stack as it is."""
    planes = [n for axis, n in zip(axes, array.shape, strict=True) if axis not in "YXS"]
    return np.asarray(array) if not planes and array.nbytes <= HELD else array


def _layer(
    data: Any,
    description: Description,
    *,
    path: Path,
    series: int | None,
    name: str,
    channel: int,
    count: int = 1,
) -> LayerData:
    axes = description.axes.replace("C", "")
    spatial = axes.replace("S", "")
    scale, units = _steps(description, spatial)
    origin = dict(zip("YX", description.origin, strict=True))
    known = units[spatial.index("Y")] != "pixel"
    names, colors = description.channel_names, description.channel_colors
    attributes: dict[str, Any] = {
        "name": name,
        "rgb": "S" in axes,
        "scale": scale,
        "units": units,
        "translate": tuple(origin.get(axis, 0.0) if known else 0.0 for axis in spatial),
        "axis_labels": tuple(_label(axis, n - len(spatial)) for n, axis in enumerate(spatial)),
        "metadata": {
            METADATA_KEY: {
                "kind": "file",
                "path": str(path),
                "series": series,
                "channel": names[channel] if names else "",
                "number": channel if "C" in description.axes else None,
            }
        },
    }
    if "S" not in axes:
        usual = PALETTES.get(count, PALETTE)
        color = colors[channel] if colors else usual[channel % len(usual)]
        displays = description.displays
        shown = displays[channel] if displays else ChannelDisplay()
        attributes["colormap"] = _colormap(
            color if colors or count > 1 else "FFFFFF", table=shown.table
        )
        attributes["contrast_limits"] = shown.limits or shown_limits(data, spatial)
        if count > 1:
            attributes["blending"] = "additive"
    return data, attributes, "image"


def _steps(description: Description, axes: str) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the distance of neighbours along each axis, and its unit."""
    found = {step.axis: (step.size, step.unit) for step in description.steps}
    size = description.pixel_size
    # Inches in a plain TIFF file are the size of a print.
    if size is not None and not (size.flavour == "tags" and size.unit == "inch"):
        found |= {"Y": (size.y, size.unit), "X": (size.x, size.unit)}
    steps = [found.get(axis, (1.0, "pixel")) for axis in axes]
    known = [(step, unit) if _is_unit(unit) else (1.0, "pixel") for step, unit in steps]
    return tuple(step for step, _ in known), tuple(unit for _, unit in known)


def _is_unit(name: str) -> bool:
    try:
        pint.Unit(name)
    except (pint.errors.PintError, ValueError, TypeError, AttributeError):
        return False
    return True


def _label(axis: str, number: int) -> str:
    # As napari calls axes of which it knows nothing.
    return str(number) if axis in UNNAMED else axis.lower()


def _colormap(color: str, *, table: bytes | None) -> Any:
    """Return napari's name of a colour, or a colormap: a lookup table, or from black to it."""
    if table is not None:
        colours = np.frombuffer(table, np.uint8).reshape(3, 256).T / 255
        return Colormap(np.hstack([colours, np.ones((256, 1))]), name="lookup table of the file")
    if color in NAMED:
        return NAMED[color]
    brightest = [int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return Colormap([[0, 0, 0, 1], [*brightest, 1]], name=f"#{color}")


def shown_limits(data: Any, axes: str) -> tuple[float, float]:
    """Return contrast limits that a few bright pixels of the plane shown first do not stretch."""
    cut = tuple(
        slice(None) if axis in "YX" else n // 2 for axis, n in zip(axes, data.shape, strict=True)
    )
    plane = np.asarray(data[cut])
    step = max(1, int(max(plane.shape) // 1024))
    values = plane[::step, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(np.quantile(values, 0.999))
    if high <= low:
        high = float(values.max())
    return (low, high) if high > low else (low, low + 1)
