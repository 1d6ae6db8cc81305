"""What a TIFF file says of its axes besides the pixel size: reading it, and writing it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import tifffile

from napari_blindsr.formats.description import AxisStep
from napari_blindsr.pixelsize import (
    METRES,
    OME_UNITS,
    PixelSize,
    read_pixel_size,
    resolution_tags,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_blindsr.formats.description import Description

# The attribute of OME's model, for the step and for its unit, and the unit that it has by itself.
_OME_STEPS = {"Z": ("PhysicalSizeZ", "µm"), "T": ("TimeIncrement", "s")}
# How ImageJ's users write what they mean by a second.
_SECONDS = dict.fromkeys(("", "s", "sec", "second", "seconds"), "s")


@dataclass(frozen=True, kw_only=True)
class TiffFacts:
    """What a file says: as in `Description`."""

    flavour: Literal["imagej", "ome", "tags"]
    steps: tuple[AxisStep, ...] = ()
    channel_names: tuple[str, ...] = ()
    pixel_size: PixelSize | None = None


def read_metadata(tif: tifffile.TiffFile) -> TiffFacts:
    """Return what a file says of its first image."""
    size = read_pixel_size(tif)
    if tif.is_ome and tif.ome_metadata is not None:
        pixels = _ome_pixels(tif.ome_metadata)
        channels = pixels.get("Channel", [])
        names = [c.get("Name") for c in (channels if isinstance(channels, list) else [channels])]
        known = tuple(str(name) for name in names if name is not None)
        return TiffFacts(
            flavour="ome",
            steps=_steps(pixels),
            channel_names=known if len(known) == len(names) else (),
            pixel_size=size,
        )
    if tif.is_imagej:
        steps = _imagej_steps(tif.imagej_metadata or {})
        return TiffFacts(flavour="imagej", steps=steps, pixel_size=size)
    shaped = (tif.shaped_metadata or ({},))[0]
    names = shaped.get("ChannelNames", [])
    return TiffFacts(
        flavour="tags",
        steps=_steps(shaped),
        channel_names=tuple(map(str, names)) if isinstance(names, list) else (),
        pixel_size=_shaped_size(shaped) or size,
    )


def _shaped_size(attributes: Mapping[str, Any]) -> PixelSize | None:
    y, x = (_number(attributes.get(f"PhysicalSize{axis}")) for axis in "YX")
    unit = attributes.get("PhysicalSizeXUnit")
    if y is None or x is None or not min(y, x) > 0 or not isinstance(unit, str):
        return None
    return PixelSize(y=y, x=x, unit=unit, flavour="tags")


def _ome_pixels(xml: str) -> Mapping[str, Any]:
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image")
    image = image[0] if isinstance(image, list) else image
    pixels = image.get("Pixels") if isinstance(image, dict) else None
    return pixels if isinstance(pixels, dict) else {}


def _steps(attributes: Mapping[str, Any]) -> tuple[AxisStep, ...]:
    found = []
    for axis, (name, default) in _OME_STEPS.items():
        size = _number(attributes.get(name))
        if size is not None:
            unit = str(attributes.get(f"{name}Unit", default))
            found.append(AxisStep(axis=axis, size=size, unit=unit))
    return tuple(found)


def _imagej_steps(metadata: Mapping[str, Any]) -> tuple[AxisStep, ...]:
    found = []
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ").strip()
    spacing = _number(metadata.get("spacing"))
    if spacing is not None and unit not in ("", "pixel", "pixels"):
        found.append(AxisStep(axis="Z", size=spacing, unit=unit))
    interval = _number(metadata.get("finterval"))
    if interval is not None:
        unit = str(metadata.get("tunit", "")).strip()
        found.append(AxisStep(axis="T", size=interval, unit=_SECONDS.get(unit, unit)))
    return tuple(found)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def ome_options(description: Description) -> dict[str, Any]:
    """Return the options with which `tifffile` writes OME-TIFF."""
    options = _options(description)
    options["ome"] = True
    names = description.channel_names
    if names:
        options["metadata"]["Channel"] = {"Name": list(names)}
    return options


def plain_options(description: Description) -> dict[str, Any]:
    """Return the options with which `tifffile` writes its own kind: any axes and types."""
    options = _options(description)
    if description.channel_names:
        options["metadata"]["ChannelNames"] = list(description.channel_names)
    return options


def _options(description: Description) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": description.axes}
    options: dict[str, Any] = {
        "photometric": "rgb" if "S" in description.axes else "minisblack",
        "metadata": metadata,
    }
    size = description.pixel_size
    if size is not None:
        unit = OME_UNITS.get(size.unit, size.unit)
        options |= resolution_tags(size)
        metadata |= {
            "PhysicalSizeX": size.x,
            "PhysicalSizeXUnit": unit,
            "PhysicalSizeY": size.y,
            "PhysicalSizeYUnit": unit,
        }
    for step in description.steps:
        if step.axis in _OME_STEPS:
            name, _ = _OME_STEPS[step.axis]
            unit = OME_UNITS.get(step.unit, step.unit)
            metadata |= {name: step.size, f"{name}Unit": unit}
    return options


def imagej_options(description: Description) -> dict[str, Any] | None:
    """Return the options with which `tifffile` writes a hyperstack of ImageJ.

    None if ImageJ cannot say what the description does.
    """
    metadata: dict[str, Any] = {"axes": description.axes}
    options: dict[str, Any] = {"imagej": True, "metadata": metadata}
    size, depth, time = description.pixel_size, description.step("Z"), description.step("T")
    if size is not None:
        # ImageJ's description is ASCII.
        unit = "um" if METRES.get(size.unit) == METRES["um"] else size.unit
        if not unit.isascii():
            return None
        options["resolution"] = (1 / size.x, 1 / size.y)
        metadata["unit"] = unit
    if depth is not None:
        # One unit is that of all of space.
        if size is None or not _same_unit(depth.unit, size.unit):
            return None
        metadata["spacing"] = depth.size
    if time is not None:
        if time.unit not in ("s", "sec"):
            return None
        metadata |= {"finterval": time.size, "tunit": "sec"}
    return None if description.channel_names else options


def _same_unit(one: str, other: str) -> bool:
    return one == other or (one in METRES and METRES.get(one) == METRES.get(other))
