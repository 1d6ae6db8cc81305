"""Layers as image files that keep axes, pixel sizes, units, names, colours, display ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, ensure_colormap

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.files import create_image
from napari_blindsr.images.metadata import (
    AxisStep,
    ChannelDisplay,
    Description,
    PixelSize,
    known_displays,
    known_limits,
    ramp,
)
from napari_blindsr.plugin.layers.outputs import METADATA_KEY
from napari_blindsr.plugin.layers.stacks import letter
from napari_blindsr.plugin.layers.versions import unit_symbol

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.images.writer import ImageWriter


FILTERS = {
    "OME-TIFF (*.ome.tif)": ".ome.tif",
    "ImageJ TIFF (*.tif)": ".tif",
    "OME-Zarr (*.ome.zarr)": ".ome.zarr",
}
"""What a file dialogue offers, and the extensions that these have."""

Data = Sequence[tuple[Any, Mapping[str, Any], str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """An image that is to be written.

    The channels have one shape, in the same `axes`, samples last; `description` is that of the
    file.
    """

    channels: tuple[Any, ...]
    axes: str
    description: Description

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the file's array."""
        lengths = dict(zip(self.axes, self.channels[0].shape, strict=True))
        # Alpha is not written.
        lengths |= {"S": 3}
        if len(self.channels) > 1:
            lengths["C"] = len(self.channels)
        return tuple(lengths[axis] for axis in self.description.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """A type that holds the values of all channels."""
        kind = np.result_type(*(channel.dtype for channel in self.channels))
        return np.dtype(np.uint8) if kind.kind == "b" else np.dtype(kind)


def write_image(path: str, layers: Data) -> list[str]:
    """Write image layers to one file; several become its channels. napari calls this.

    The path ends in .ome.tif, .tif (ImageJ), .ome.zarr or .zarr; an existing file is replaced.
    Raises a `FileError` if it cannot be written, an `InputError` if the layers do not fit each
    other.
    """
    saved = collect(layers)
    writer = create_image(
        path, shape=saved.shape, dtype=saved.dtype, description=saved.description, force=True
    )
    try:
        for number, channel in enumerate(saved.channels):
            _write_channel(writer, saved, channel, number)
        writer.finish()
    except BaseException:
        writer.abort()
        raise
    return [path]


def _write_channel(writer: ImageWriter, saved: Saved, channel: Any, number: int) -> None:
    """Write a channel plane by plane, so that no more than a plane is in memory."""
    axes = saved.axes
    loops = [n for n, axis in enumerate(axes) if axis not in "YXS"]
    for index in np.ndindex(*(channel.shape[n] for n in loops)):
        cut: list[int | slice] = [slice(None)] * len(axes)
        for n, at in zip(loops, index, strict=True):
            cut[n] = at
        if axes.endswith("S"):
            cut[-1] = slice(0, 3)
        place = dict(zip(axes, cut, strict=True))
        if len(saved.channels) > 1:
            place["C"] = number
        block = np.asarray(channel[tuple(cut)]).astype(saved.dtype)
        # Rows, columns and samples come in the order of the description, as in the layer.
        writer[tuple(place[axis] for axis in saved.description.axes)] = block


def collect(layers: Data) -> Saved:
    """Return the content of a file with image layers.

    Raises an `InputError` if they do not fit each other, or have no rows and columns.
    """
    if not layers:
        raise InputError("no image layer is selected; expected one or more")
    arrays = [data[0] if given.get("multiscale") else data for data, given, _ in layers]
    axes = _axes(arrays[0], layers[0][1])
    description = layer_description(
        axes, arrays[0].shape, [attributes for _, attributes, _ in layers]
    )
    if len(layers) == 1:
        return Saved(channels=(arrays[0],), axes=axes, description=description)
    for array, (_, attributes, _) in zip(arrays, layers, strict=True):
        if array.shape != arrays[0].shape or _axes(array, attributes) != axes:
            sizes = ", ".join(" × ".join(map(str, one.shape)) for one in arrays)
            raise InputError(f"the layers differ in size ({sizes}); expected one size for channels")
    if set("CS") & set(axes):
        raise InputError("the layers have channels or colours already; expected one layer a file")
    at = 1 if axes.startswith("T") else 0
    description = replace(description, axes=axes[:at] + "C" + axes[at:])
    return Saved(channels=tuple(arrays), axes=axes, description=description)


def _axes(array: Any, attributes: Mapping[str, Any]) -> str:
    """Return the axes of a layer's array by their labels; without any, the last two are Y, X."""
    colour = bool(attributes.get("rgb"))
    count = len(array.shape) - colour
    if count < 2:
        raise InputError(f"the layer has {count} dimension; expected two or more")
    labels = [str(label).strip().lower() for label in attributes.get("axis_labels") or ()]
    labels = labels if len(labels) == count else [""] * count
    row, column = (
        (labels.index("y"), labels.index("x"))
        if {"y", "x"} <= set(labels)
        else (count - 2, count - 1)
    )
    letters = [letter(label) for label in labels]
    letters[row], letters[column] = "Y", "X"
    return distinct_axes("".join(letters)) + ("S" if colour else "")


def layer_description(
    axes: str, shape: Sequence[int], layers: Sequence[Mapping[str, Any]]
) -> Description:
    """Return the description of a file with layers of a shape, given by their attributes."""
    plain = "C" not in axes and "S" not in axes
    # The channels of one layer look alike.
    alike = shape[axes.index("C")] if "C" in axes else 1
    attributes, count = layers[0], len(axes.replace("S", ""))
    displays = [] if "S" in axes else [_display(one) for one in layers] * alike
    return replace(
        _placement(
            axes,
            scale=_given(attributes, "scale", (1.0,) * count),
            translate=_given(attributes, "translate", (0.0,) * count),
            units=_given(attributes, "units", ("pixel",) * count),
        ),
        channel_names=tuple(map(channel_name, layers)) if plain else (),
        channel_colors=tuple(map(_color, layers)) if plain else (),
        displays=known_displays(displays),
    )


def _given(attributes: Mapping[str, Any], name: str, usual: Any) -> Any:
    value = attributes.get(name)
    return usual if value is None or len(value) == 0 else value


def _placement(
    axes: str, *, scale: ArrayLike, translate: ArrayLike, units: Sequence[Any]
) -> Description:
    spatial = axes.replace("S", "")
    sizes, origin = np.abs(np.asarray(scale, float)), np.asarray(translate, float)
    names = [unit_symbol(unit) for unit in units]
    row, column = spatial.index("Y"), spatial.index("X")
    pixel_size, corner = None, (0.0, 0.0)
    if names[row] and names[row] == names[column]:
        pixel_size = PixelSize(
            y=float(sizes[row]), x=float(sizes[column]), unit=names[row], flavour="imagej"
        )
        corner = float(origin[row]), float(origin[column])
    steps = tuple(
        AxisStep(axis=axis, size=float(step), unit=unit)
        for axis, step, unit in zip(spatial, sizes, names, strict=True)
        if unit and axis not in "YXC"
    )
    # Formats other than TIFF do not mind the flavour; a TIFF file that is not named OME becomes it.
    return Description(
        axes=axes, pixel_size=pixel_size, origin=corner, steps=steps, flavour="imagej"
    )


def channel_name(attributes: Mapping[str, Any]) -> str:
    """Return the name of a layer's channel: that in its file, of its source, or of the layer."""
    record = attributes.get("metadata", {}).get(METADATA_KEY, {})
    source = record.get("source", {})
    return str(record.get("channel") or source.get("layer") or attributes.get("name", ""))


def _table(attributes: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the colours (3, 256) in which a layer is shown, dark pixels first."""
    given = attributes.get("colormap", "gray")
    colormap = Colormap(**given) if isinstance(given, Mapping) else ensure_colormap(given)
    colours = np.asarray(colormap.map(np.linspace(0, 1, 256)))[:, :3]
    return np.asarray(np.rint(255 * colours.T), np.uint8)


def _color(attributes: Mapping[str, Any]) -> str:
    """Return the brightest colour of a layer, in hexadecimal."""
    table = _table(attributes)
    # The last of several: most colormaps end with it.
    last = 255 - int(np.argmax(table.sum(axis=0, dtype=int)[::-1]))
    return bytes(table[:, last].tolist()).hex().upper()


def _display(attributes: Mapping[str, Any]) -> ChannelDisplay:
    """Return the display range of a layer, and its colours unless these are a ramp."""
    table = _table(attributes)
    straight = np.abs(ramp(_color(attributes)).astype(int) - table).max() <= 1
    return ChannelDisplay(
        table=None if straight else table.tobytes(),
        limits=known_limits(attributes.get("contrast_limits")),
    )


def layer_data(layers: Sequence[Image]) -> list[tuple[Any, Mapping[str, Any], str]]:
    """Return image layers as arguments of `write_image`. Call it on the main thread."""
    return [layer.as_layer_data_tuple() for layer in layers]


def chosen_path(answer: str, chosen: str) -> Path:
    """Return the path of a dialogue's answer, with the extension of the chosen filter."""
    path = Path(answer)
    suffix = FILTERS.get(chosen, ".ome.tif")
    known = any(answer.lower().endswith(entry) for entry in (*FILTERS.values(), ".zarr", ".tiff"))
    return path if known else path.with_name(path.name + suffix)
