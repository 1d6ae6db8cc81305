"""How channels are shown besides their colours: lookup tables and ranges, from file to file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.images.channels import ramp, several

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ChannelDisplay:
    """How a channel is shown.

    Attributes
    ----------
    table : bytes or None
        A lookup table that is no ramp from black to one colour: 256 values of red, of green and
        of blue.
    limits : (float, float) or None
        The intensities that are shown darkest and brightest.
    """

    table: bytes | None = None
    limits: tuple[float, float] | None = None


def told(displays: Sequence[ChannelDisplay]) -> tuple[ChannelDisplay, ...]:
    """Return how channels are shown, if anything is known of it."""
    return tuple(displays) if any(one != ChannelDisplay() for one in displays) else ()


def of_imagej(
    metadata: Mapping[str, Any], colour_map: NDArray[np.uint8] | None
) -> tuple[ChannelDisplay, ...]:
    """Return how ImageJ shows the channels of an image, as far as its metadata tell."""
    tables = several(metadata.get("LUTs"))
    if not tables and colour_map is not None:
        tables = [colour_map]
    limits = _pairs(metadata.get("Ranges") or [metadata.get("min"), metadata.get("max")])
    return told(
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
    # A colour tells as much.
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


def as_imagej(displays: Sequence[ChannelDisplay], colors: Sequence[str]) -> dict[str, Any]:
    """Return lookup tables and ranges as `tifffile` takes them, where all channels have them."""
    found: dict[str, Any] = {}
    tables = [
        np.frombuffer(one.table, np.uint8).reshape(3, 256)
        if one.table is not None
        else ramp(colors[number] if number < len(colors) else "FFFFFF")
        for number, one in enumerate(displays)
    ]
    if any(one.table is not None for one in displays):
        found["LUTs"] = tables
    limits = [one.limits for one in displays if one.limits is not None]
    if limits and len(limits) == len(displays):
        found["Ranges"] = tuple(value for pair in limits for value in pair)
        found["min"], found["max"] = limits[0]
    return found
