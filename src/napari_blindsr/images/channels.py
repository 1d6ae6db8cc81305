"""What TIFF files say of channels: names and colours, as OME and ImageJ store them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import Description


def ome_names(pixels: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels of OME's element Pixels, or none if one has no name."""
    names = [channel.get("Name") for channel in several(pixels.get("Channel"))]
    return tuple(map(str, names)) if all(name is not None for name in names) else ()


def ome_colors(pixels: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the colours of the channels, or none if one has no colour."""
    colors = [channel.get("Color") for channel in several(pixels.get("Channel"))]
    # 32 bits with a sign: red, green, blue, and how opaque.
    known = [color for color in colors if isinstance(color, int)]
    if len(known) < len(colors):
        return ()
    return tuple(f"{(color & 0xFFFFFFFF) >> 8:06X}" for color in known)


def ome_channels(description: Description) -> dict[str, list[Any]]:
    """Return what OME-XML says of channels, as `tifffile` takes it."""
    stored: dict[str, list[Any]] = {}
    if description.channel_names:
        stored["Name"] = list(description.channel_names)
    if description.channel_colors:
        stored["Color"] = [_signed(color) for color in description.channel_colors]
    return stored


def _signed(color: str) -> int:
    value = int(color, 16) << 8 | 0xFF
    return value - (1 << 32) if value >= 1 << 31 else value


def imagej_names(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels, if all slices of a channel have the same label."""
    labels = several(metadata.get("Labels"))
    count = int(metadata.get("channels", 1))
    if not labels or len(labels) % count:
        return ()
    # Channels lie next to each other, before any other axis.
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

    The axes of the description, and the shape, are in the order of ImageJ.
    """
    stored: dict[str, Any] = {}
    displays, colors = description.displays, description.channel_colors
    own = [one.table for one in displays] or [None] * len(colors)
    if colors or any(own):
        stored["LUTs"] = [
            ramp(colors[number] if number < len(colors) else "FFFFFF")
            if table is None
            else np.frombuffer(table, np.uint8).reshape(3, 256)
            for number, table in enumerate(own)
        ]
    if colors and "C" in description.axes:
        stored["mode"] = "composite"
    names = description.channel_names
    if names:
        axes = zip(description.axes, shape, strict=True)
        loops = [(axis, length) for axis, length in axes if axis not in "YXS"]
        where = [axis for axis, _ in loops]
        channel = where.index("C") if "C" in where else None
        slices = itertools.product(*(range(length) for _, length in loops))
        stored["Labels"] = [names[0 if channel is None else at[channel]] for at in slices]
    limits = [one.limits for one in displays if one.limits is not None]
    if limits and len(limits) == len(displays):
        stored["Ranges"] = tuple(value for pair in limits for value in pair)
        stored["min"], stored["max"] = limits[0]
    return stored


def ramp(color: str) -> NDArray[np.uint8]:
    """Return the lookup table (3, 256) from black to a colour."""
    brightest = np.array([int(color[at : at + 2], 16) for at in (0, 2, 4)])
    return np.rint(np.outer(brightest, np.linspace(0, 1, 256))).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class ChannelDisplay:
    """How a channel is shown.

    `table` is a lookup table that is no ramp from black to one colour, 256 values of red, of green
    and of blue; `limits` are the intensities that are shown darkest and brightest.
    """

    table: bytes | None = None
    limits: tuple[float, float] | None = None


def known_displays(displays: Sequence[ChannelDisplay]) -> tuple[ChannelDisplay, ...]:
    """Return how channels are shown, if anything is known of it."""
    return tuple(displays) if any(one != ChannelDisplay() for one in displays) else ()


def of_imagej(
    metadata: Mapping[str, Any], colour_map: NDArray[np.uint8] | None
) -> tuple[ChannelDisplay, ...]:
    """Return how ImageJ shows the channels of an image, as far as its metadata say."""
    tables = several(metadata.get("LUTs"))
    if not tables and colour_map is not None:
        tables = [colour_map]
    limits = _pairs(metadata.get("Ranges") or [metadata.get("min"), metadata.get("max")])
    return known_displays(
        [
            ChannelDisplay(
                table=_table(tables[number]) if number < len(tables) else None,
                limits=limits[number] if number < len(limits) else None,
            )
            for number in range(max(len(tables), len(limits)))
        ]
    )


def _table(table: Any) -> bytes | None:
    values = np.asarray(table)
    if values.shape != (3, 256) or values.dtype != np.uint8:
        return None
    # A ramp is described by its colour.
    brightest = bytes(values[:, -1].tolist()).hex()
    return None if np.array_equal(values, ramp(brightest)) else values.tobytes()


def _pairs(values: Any) -> list[tuple[float, float]]:
    try:
        flat = [float(value) for value in values]
    except (TypeError, ValueError):
        return []
    pairs = list(zip(flat[::2], flat[1::2], strict=False))
    usable = all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in pairs)
    return pairs if usable else []
