"""What TIFF files say of channels: names and colours, as OME and ImageJ store them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import Description


def ome_names(pixels: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels of OME's element Pixels, or none if one has no name."""
    names = [channel.get("Name") for channel in _channels(pixels)]
    return tuple(map(str, names)) if all(name is not None for name in names) else ()


def ome_colors(pixels: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the colours of the channels, or none if one has no colour."""
    colors = [channel.get("Color") for channel in _channels(pixels)]
    # 32 bits with a sign: red, green, blue, and how opaque.
    known = [color for color in colors if isinstance(color, int)]
    if len(known) < len(colors):
        return ()
    return tuple(f"{(color & 0xFFFFFFFF) >> 8:06X}" for color in known)


def _channels(pixels: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    channels = pixels.get("Channel", [])
    return channels if isinstance(channels, list) else [channels]


def ome_channels(description: Description) -> dict[str, list[Any]]:
    """Return what OME-XML says of channels, as `tifffile` takes it."""
    told: dict[str, list[Any]] = {}
    if description.channel_names:
        told["Name"] = list(description.channel_names)
    if description.channel_colors:
        told["Color"] = [_signed(color) for color in description.channel_colors]
    return told


def _signed(color: str) -> int:
    value = int(color, 16) << 8 | 0xFF
    return value - (1 << 32) if value >= 1 << 31 else value


def imagej_names(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels, if all slices of a channel have the same label."""
    labels = several(metadata.get("Labels"))
    count = int(metadata.get("channels", 1))
    if not labels or len(labels) % count:
        return ()
    # Channels lie next to each other, whatever the other axes.
    alike = all(len(set(labels[channel::count])) == 1 for channel in range(count))
    names = tuple(str(label) for label in labels[:count])
    return names if alike and all(names) else ()


def imagej_colors(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the brightest colours of the lookup tables."""
    tables = several(metadata.get("LUTs"))
    return tuple("".join(f"{int(value):02X}" for value in table[:, -1]) for table in tables)


def several(value: Any) -> list[Any]:
    """Return the entries of metadata of which there may be one, several or none."""
    # tifffile hands out a single entry without its list.
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def imagej_channels(description: Description, shape: Sequence[int]) -> dict[str, Any]:
    """Return what a hyperstack of ImageJ says of channels, as `tifffile` takes it.

    Parameters
    ----------
    description : Description
        Its axes are in the order of ImageJ.
    shape : sequence of int
    """
    told: dict[str, Any] = {}
    if description.channel_colors:
        told["LUTs"] = [ramp(color) for color in description.channel_colors]
        if "C" in description.axes:
            told["mode"] = "composite"
    names = description.channel_names
    if names:
        axes = zip(description.axes, shape, strict=True)
        loops = [(axis, length) for axis, length in axes if axis not in "YXS"]
        where = [axis for axis, _ in loops]
        channel = where.index("C") if "C" in where else None
        slices = itertools.product(*(range(length) for _, length in loops))
        told["Labels"] = [names[0 if channel is None else at[channel]] for at in slices]
    return told


def ramp(color: str) -> NDArray[np.uint8]:
    """Return the lookup table (3, 256) from black to a colour."""
    brightest = np.array([int(color[at : at + 2], 16) for at in (0, 2, 4)])
    return np.rint(np.outer(brightest, np.linspace(0, 1, 256))).astype(np.uint8)


def listed_texts(metadata: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the texts of a list in metadata, or none if there is no list."""
    texts = metadata.get(key, [])
    return tuple(map(str, texts)) if isinstance(texts, list) else ()
