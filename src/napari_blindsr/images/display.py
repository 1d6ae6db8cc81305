"""How channels are shown: colours, lookup tables and ranges, carried from file to file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


TABLE_BYTES = 3 * 256


@dataclass(frozen=True, kw_only=True)
class ChannelDisplay:
    """How a channel is shown.

    Attributes
    ----------
    colour : str or None
        Of its brightest pixels, RRGGBB.
    table : bytes or None
        A lookup table: 256 values of red, of green and of blue.
    limits : (float, float) or None
        The intensities that are shown darkest and brightest.
    """

    colour: str | None = None
    table: bytes | None = None
    limits: tuple[float, float] | None = None

    @property
    def lookup(self) -> NDArray[np.uint8] | None:
        """The table (3, 256), or a ramp to the colour; None if neither is known."""
        if self.table is not None:
            return np.frombuffer(self.table, np.uint8).reshape(3, 256)
        if self.colour is None:
            return None
        ends = np.frombuffer(bytes.fromhex(self.colour), np.uint8).astype(np.uint16)
        ramp = ends[:, None] * np.arange(256, dtype=np.uint16)
        return ((ramp + 127) // 255).astype(np.uint8)


def of_table(table: Any) -> ChannelDisplay:
    """Return what a lookup table (3, 256) of 8 bits says; nothing if it is no such table."""
    values = np.asarray(table)
    if values.shape != (3, 256) or values.dtype != np.uint8:
        return ChannelDisplay()
    colour = bytes(values[:, -1].tolist()).hex().upper()
    return ChannelDisplay(colour=colour, table=values.tobytes())


def of_imagej(
    metadata: Mapping[str, Any], colour_map: NDArray[np.uint8] | None
) -> tuple[ChannelDisplay, ...]:
    """Return how ImageJ shows the channels of an image, as far as its metadata tell."""
    tables = metadata.get("LUTs")
    if isinstance(tables, np.ndarray):
        # Of a single channel.
        tables = [tables]
    tables = list(tables) if isinstance(tables, list | tuple) else []
    if not tables and colour_map is not None:
        tables = [colour_map]
    limits = _pairs(metadata.get("Ranges") or [metadata.get("min"), metadata.get("max")])
    shown = []
    for number in range(max(len(tables), len(limits))):
        one = of_table(tables[number]) if number < len(tables) else ChannelDisplay()
        pair = limits[number] if number < len(limits) else None
        shown.append(ChannelDisplay(colour=one.colour, table=one.table, limits=pair))
    return tuple(shown)


def _pairs(values: Any) -> list[tuple[float, float]]:
    try:
        flat = [float(value) for value in values]
    except (TypeError, ValueError):
        return []
    pairs = list(zip(flat[::2], flat[1::2], strict=False))
    usable = all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in pairs)
    return pairs if usable else []


def of_ome(channels: Sequence[Mapping[str, Any]]) -> tuple[ChannelDisplay, ...]:
    """Return the colours of OME's channels; the schema stores them as signed RGBA."""
    return tuple(ChannelDisplay(colour=_colour(channel.get("Color"))) for channel in channels)


def _colour(value: Any) -> str | None:
    try:
        return f"{(int(value) & 0xFFFFFFFF) >> 8:06X}"
    except (TypeError, ValueError):
        return None


def as_ome(colour: str) -> int:
    """Return a colour as OME stores it: signed RGBA, opaque."""
    value = int(colour, 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value
