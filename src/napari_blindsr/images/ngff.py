"""The metadata of OME-Zarr (OME-NGFF 0.4 and 0.5): reading it, and writing version 0.4.

Source: the specification, https://ngff.openmicroscopy.org/0.4/ and …/0.5/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import FileError
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.metadata import (
    AxisStep,
    ChannelDisplay,
    Description,
    PixelSize,
    known_displays,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


VERSION = "0.4"
OWN_KEY = "napari-blindsr"
"""Attribute with what only this project writes: whether the image is complete, and its axes."""

_ORDER = ("T", "channel", "Z", "Y", "X")
_OLD_AXES = "TCZYX"
# UDUNITS-2's names, which NGFF asks for, and the symbols that OME-TIFF has.
_NAMES = {
    "Å": "angstrom",
    "pm": "picometer",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "in": "inch",
    "ns": "nanosecond",
    "µs": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "min": "minute",
    "h": "hour",
    "d": "day",
}
_SYMBOLS = {name: symbol for symbol, name in _NAMES.items()}
_SPELLINGS = {
    "um": "µm",
    "μm": "µm",
    "micron": "µm",
    "microns": "µm",
    "inch": "in",
    "us": "µs",
    "sec": "s",
}
_KINDS = {"T": "time", "C": "channel", "S": "channel"}
_LETTERS = {"time": "T", "channel": "C"}
_COLOURS = ("FF0000", "00FF00", "0000FF")
_COLOUR_CODE = re.compile("[0-9A-F]{6}")
_COLOUR_NAMES = ("Red", "Green", "Blue")


@dataclass(frozen=True, kw_only=True)
class Level:
    """The place of the image of full size in its group, and its description."""

    path: str
    axes: str
    description: Description


def stored_axes(axes: str) -> str:
    """Return axes in the order of NGFF: time, channels, depth, rows, columns.

    Raises a `FileError` if NGFF has no place for them.
    """
    channels = [axis for axis in axes if axis not in "TZYX"]
    if len(channels) > 1:
        raise FileError(
            f"OME-Zarr holds the axes T, Z, Y, X and one other; these are {axes}; "
            "expected .tif or .npy"
        )
    order = [channels[0] if entry == "channel" and channels else entry for entry in _ORDER]
    return "".join(axis for axis in order if axis in axes)


def written_attributes(
    description: Description, stored: str, *, run: str, complete: bool
) -> dict[str, Any]:
    """Return the attributes of a group, except those of its channels."""
    size = description.pixel_size
    scales = {step.axis: step.size for step in description.steps}
    units = {step.axis: step.unit for step in description.steps}
    origin: dict[str, float] = {}
    if size is not None:
        scales |= {"Y": size.y, "X": size.x}
        units |= {"Y": size.unit, "X": size.unit}
        origin = dict(zip("YX", description.origin, strict=True))
    scale = [float(scales.get(axis, 1.0)) for axis in stored]
    translation = [float(origin.get(axis, 0.0)) for axis in stored]
    placed: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        placed.append({"type": "translation", "translation": translation})
    multiscale = {
        "version": VERSION,
        "axes": [_axis(axis, units.get(axis)) for axis in stored],
        "datasets": [{"path": "0", "coordinateTransformations": placed}],
    }
    own = {"complete": complete, "axes": description.axes, "run": run}
    if description.displays:
        # A range that is shown on purpose may be all that there is.
        own["displays"] = True
    return {"multiscales": [multiscale], OWN_KEY: own}


def _axis(letter: str, unit: str | None) -> dict[str, str]:
    entry = {"name": "c" if letter == "S" else letter.lower()}
    kind = "space" if letter in "ZYX" else _KINDS.get(letter)
    if kind is not None:
        entry["type"] = kind
    if unit:
        symbol = _SPELLINGS.get(unit, unit)
        entry["unit"] = _NAMES.get(symbol, symbol)
    return entry


def channel_attributes(
    description: Description, ranges: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Return the names, colours and shown ranges of channels; nothing where there are no channels.

    `ranges` has the smallest and largest value of each.
    """
    colour = "S" in description.axes
    known = description.channel_names or description.channel_colors or description.displays
    if not colour and "C" not in description.axes and not known:
        return {}
    names = _COLOUR_NAMES if colour else description.channel_names
    colors = _COLOURS if colour else description.channel_colors or ("FFFFFF",) * len(ranges)
    channels = []
    for number, (low, high) in enumerate(ranges):
        # A viewer cannot show a range of nothing.
        end = high if high > low else low + 1
        window = {"min": low, "max": end, "start": low, "end": end}
        channel: dict[str, Any] = {
            "active": True,
            "color": colors[number],
            "window": window,
        }
        limits = description.displays[number].limits if number < len(description.displays) else None
        if limits is not None:
            window["start"], window["end"] = limits
        if names:
            channel["label"] = names[number]
        channels.append(channel)
    model = "color" if colour else "greyscale"
    return {"omero": {"version": VERSION, "channels": channels, "rdefs": {"model": model}}}


def read_attributes(attributes: Mapping[str, Any]) -> Level | None:
    """Return the level of full size of the first image of a group; None if it has no image."""
    ome = attributes.get("ome")
    ome = ome if isinstance(ome, dict) else attributes
    multiscales = ome.get("multiscales")
    if not multiscales:
        return None
    image = multiscales[0]
    entries = [e if isinstance(e, dict) else {"name": e} for e in image.get("axes", _OLD_AXES)]
    dataset = image["datasets"][0]
    own = attributes.get(OWN_KEY, {})
    axes = distinct_axes("".join(map(_letter, entries)))
    if "S" in own.get("axes", "") and "C" in axes:
        axes = axes.replace("C", "S")
    scale, translation = _placement(image, dataset, len(axes))
    size, steps, notes = _sizes(axes, entries, scale)
    if own.get("complete", True) is False:
        notes = (*notes, "the image is incomplete: the run that wrote it has not ended")
    origin = dict(zip(axes, translation, strict=True))
    return Level(
        path=str(dataset["path"]),
        axes=axes,
        description=Description(
            # The samples of colours are last in a description, wherever they are stored.
            axes=axes.replace("S", "") + ("S" if "S" in axes else ""),
            pixel_size=size,
            origin=(0.0, 0.0) if size is None else (origin["Y"], origin["X"]),
            steps=steps,
            channel_names=_channel_values(ome, "label") if "S" not in axes else (),
            channel_colors=_colors(ome) if "S" not in axes else (),
            displays=_displays(ome, chosen="displays" in own) if "S" not in axes else (),
            notes=notes,
        ),
    )


def _letter(entry: Mapping[str, Any]) -> str:
    known = _LETTERS.get(str(entry.get("type")))
    name = str(entry.get("name", "")).upper()
    return known or (name if len(name) == 1 and "A" <= name <= "Z" and name != "S" else "Q")


def _placement(
    image: Mapping[str, Any], dataset: Mapping[str, Any], count: int
) -> tuple[list[float], list[float]]:
    """Return the scale and the translation of the image of full size."""
    scale, translation = [1.0] * count, [0.0] * count
    # Those of the image apply after those of its levels.
    for owner in (dataset, image):
        for entry in owner.get("coordinateTransformations", ()):
            kind = entry.get("type")
            values = entry.get(kind) or ()
            if kind not in ("scale", "translation") or len(values) != count:
                continue
            if kind == "translation":
                translation = [a + float(b) for a, b in zip(translation, values, strict=True)]
            else:
                scale = [a * float(b) for a, b in zip(scale, values, strict=True)]
                translation = [a * float(b) for a, b in zip(translation, values, strict=True)]
    return scale, translation


def _sizes(
    axes: str, entries: Sequence[Mapping[str, Any]], scale: Sequence[float]
) -> tuple[PixelSize | None, tuple[AxisStep, ...], tuple[str, ...]]:
    units = [entry.get("unit") for entry in entries]
    steps = {
        axis: AxisStep(axis=axis, size=size, unit=_SYMBOLS.get(str(unit), str(unit)))
        for axis, unit, size in zip(axes, units, scale, strict=True)
        if unit
    }
    others = tuple(step for axis, step in steps.items() if axis not in "YXCS")
    y, x = steps.get("Y"), steps.get("X")
    if y is not None and x is not None and y.unit == x.unit and min(y.size, x.size) > 0:
        return PixelSize(y=y.size, x=x.size, unit=y.unit), others, ()
    plain = dict(zip(axes, scale, strict=True))
    if plain.get("Y") == plain.get("X") == 1.0:
        return None, others, ()
    return None, others, ("the pixel size was left out: it has no unit",)


def _channel_values(ome: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the value of each channel under a key, or nothing if one channel has none."""
    channels = (ome.get("omero") or {}).get("channels") or []
    values = [channel.get(key) for channel in channels]
    return tuple(map(str, values)) if all(value is not None for value in values) else ()


def _colors(ome: Mapping[str, Any]) -> tuple[str, ...]:
    colors = tuple(color.upper().lstrip("#") for color in _channel_values(ome, "color"))
    # White is what channels have whose colour nobody knows.
    known = any(color != "FFFFFF" for color in colors)
    return colors if known and all(_COLOUR_CODE.fullmatch(color) for color in colors) else ()


def _displays(ome: Mapping[str, Any], *, chosen: bool) -> tuple[ChannelDisplay, ...]:
    """Return which intensities are shown, unless these are all that there are and not `chosen`."""
    shown = []
    for channel in (ome.get("omero") or {}).get("channels") or []:
        window = channel.get("window") or {}
        start, end = window.get("start"), window.get("end")
        limits: tuple[float, float] | None = None
        if isinstance(start, int | float) and isinstance(end, int | float) and start < end:
            all_of_it = (start, end) == (window.get("min"), window.get("max"))
            limits = None if all_of_it and not chosen else (float(start), float(end))
        shown.append(ChannelDisplay(limits=limits))
    return known_displays(shown)
