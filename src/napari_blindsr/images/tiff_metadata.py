"""What TIFF files say of their images besides the pixels, and how that is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_blindsr.images.metadata import (
    METRES,
    AxisStep,
    ChannelDisplay,
    Description,
    Flavour,
    PixelSize,
    as_fraction,
    as_number,
    imagej_channels,
    imagej_colors,
    imagej_names,
    known_displays,
    known_limits,
    known_optics,
    metres,
    of_imagej,
    ome_channels,
    ome_colors,
    ome_names,
    several,
)
from napari_blindsr.optics import Optics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


# The attribute of OME's model for the step along an axis, and the unit that it has by itself.
_OME_STEPS = {"Z": ("PhysicalSizeZ", "µm"), "T": ("TimeIncrement", "s")}
# How ImageJ's users write a second.
_SECONDS = dict.fromkeys(("", "s", "sec", "second", "seconds"), "s")
# tifffile.RESUNIT
_TAG_UNITS = {2: "inch", 3: "cm"}
# OME-XML has no element for display ranges: they are an annotation of the image.
_RANGES = "napari-blindsr/display-ranges"
OME_UNITS = {"um": "µm", "μm": "µm", "micron": "µm", "microns": "µm", "inch": "in"}


def read_metadata(
    tif: tifffile.TiffFile, number: int = 0, colour_map: NDArray[np.uint8] | None = None
) -> Description:
    """Return what a file says of one of its images, except its axes.

    `colour_map` is that of the image's pages.
    """
    size = read_pixel_size(tif)
    if tif.is_ome and tif.ome_metadata is not None:
        pixels = _ome_pixels(tif.ome_metadata, number)
        return Description(
            axes="YX",
            flavour="ome",
            steps=_steps(pixels),
            channel_names=ome_names(pixels),
            channel_colors=ome_colors(pixels),
            pixel_size=size,
            displays=_ome_displays(tif.ome_metadata, number, len(several(pixels.get("Channel")))),
        )
    if tif.is_imagej:
        found = tif.imagej_metadata or {}
        names, mode = imagej_names(found), str(found.get("mode", ""))
        return Description(
            axes="YX",
            flavour="imagej",
            steps=_imagej_steps(found),
            channel_names=names,
            channel_colors=imagej_colors(found),
            pixel_size=size,
            displays=of_imagej(found, colour_map),
            # Colours alone say that channels are shown as a composite.
            mode=mode if "LUTs" in found and mode != "composite" else "",
            labels=() if names else tuple(map(str, several(found.get("Labels")))),
        )
    own = _of_instrument(tif)
    if own is not None:
        return own
    shaped = (tif.shaped_metadata or ({},))[0]
    return Description(
        axes="YX",
        flavour="tags",
        steps=_steps(shaped),
        channel_names=tuple(map(str, several(shaped.get("ChannelNames")))),
        channel_colors=tuple(map(str, several(shaped.get("ChannelColors")))),
        displays=_displays(several(shaped.get("ChannelRanges"))),
        pixel_size=_shaped_size(shaped) or size,
    )


def _ome_image(ome: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return one of the elements Image of OME-XML."""
    image = ome.get("Image")
    image = image[min(number, len(image) - 1)] if isinstance(image, list) else image
    return image if isinstance(image, dict) else {}


def _of_instrument(tif: tifffile.TiffFile) -> Description | None:
    """Return what LSM, STK and SVS files say in fields of their own; None of other files."""
    if tif.is_lsm:
        found = tif.lsm_metadata or {}
        # Lengths are in metres, as Zeiss has them.
        y, x, z = (1e6 * found.get(f"VoxelSize{axis}", 0) for axis in "YXZ")
        channels = found.get("ChannelColors") or {}
        return Description(
            axes="YX",
            flavour="tags",
            pixel_size=_known_size(y, x, "µm"),
            steps=(
                AxisStep(axis="Z", size=z, unit="µm"),
                AxisStep(axis="T", size=found.get("TimeIntervall", 0), unit="s"),
            ),
            channel_names=tuple(channels.get("ColorNames", ())),
            channel_colors=tuple(
                bytes(rgba[:3]).hex().upper() for rgba in channels.get("Colors", ())
            ),
        )
    if tif.is_stk:
        found = tif.stk_metadata or {}
        y, x = (as_number(found.get(f"{axis}Calibration")) for axis in "YX")
        size = _known_size(y, x, str(found.get("CalibrationUnits", "")))
        return Description(axes="YX", flavour="tags", pixel_size=size)
    if tif.is_svs:
        # Micrometres per pixel.
        said = re.search(r"\|\s*MPP\s*=\s*([^|\s]+)", tif.pages.first.description)
        side = as_number(said[1]) if said else None
        return Description(axes="YX", flavour="tags", pixel_size=_known_size(side, side, "µm"))
    return None


def _known_size(y: float | None, x: float | None, unit: str) -> PixelSize | None:
    """Return the size of a pixel; None if it is no length."""
    if not y or not x or not np.isfinite([y, x]).all() or min(y, x) < 0 or unit not in METRES:
        return None
    return PixelSize(y=y, x=x, unit=unit, flavour="tags")


def _ome_pixels(xml: str, number: int) -> Mapping[str, Any]:
    """Return the element Pixels of one of the images of OME-XML."""
    pixels = _ome_image(tifffile.xml2dict(xml).get("OME", {}), number).get("Pixels")
    return pixels if isinstance(pixels, dict) else {}


def _ome_displays(xml: str, number: int, channels: int) -> tuple[ChannelDisplay, ...]:
    """Return the display ranges of an image's channels, which `_range_annotation` has written."""
    ome = tifffile.xml2dict(xml).get("OME", {})
    own = {entry.get("ID") for entry in _listed(_ome_image(ome, number).get("AnnotationRef"))}
    for entry in _listed(_first(ome.get("StructuredAnnotations")).get("MapAnnotation")):
        if entry.get("ID") in own and entry.get("Namespace") == _RANGES:
            pairs = _listed(_first(entry.get("Value")).get("M"))
            ranges = {str(pair.get("K")): str(pair.get("value")).split() for pair in pairs}
            return _displays([ranges.get(f"Channel {n}") for n in range(channels)])
    return ()


def _displays(ranges: Sequence[Any]) -> tuple[ChannelDisplay, ...]:
    return known_displays([ChannelDisplay(limits=known_limits(pair)) for pair in ranges])


def _range_annotation(displays: Sequence[ChannelDisplay]) -> dict[str, Any]:
    ranges = {
        f"Channel {number}": f"{display.limits[0]!r} {display.limits[1]!r}"
        for number, display in enumerate(displays)
        if display.limits is not None
    }
    return {"MapAnnotation": {"Namespace": _RANGES, "Value": ranges}} if ranges else {}


def _imagej_unit(metadata: Mapping[str, Any], *keys: str) -> str:
    """Return the unit under the first of some keys that is there; empty for pixels."""
    found = next((metadata[key] for key in keys if key in metadata), "")
    unit = str(found).replace("\\u00B5", "µ").strip()
    return "" if unit in ("pixel", "pixels") else unit


def _steps(attributes: Mapping[str, Any]) -> tuple[AxisStep, ...]:
    found = []
    for axis, (name, default) in _OME_STEPS.items():
        size = as_number(attributes.get(name))
        if size is not None:
            unit = str(attributes.get(f"{name}Unit", default))
            found.append(AxisStep(axis=axis, size=size, unit=unit))
    return tuple(found)


def _imagej_steps(metadata: Mapping[str, Any]) -> tuple[AxisStep, ...]:
    found = []
    unit = _imagej_unit(metadata, "zunit", "unit")
    spacing = as_number(metadata.get("spacing"))
    if spacing is not None and unit:
        found.append(AxisStep(axis="Z", size=spacing, unit=unit))
    interval = as_number(metadata.get("finterval"))
    if interval is not None:
        unit = str(metadata.get("tunit", "")).strip()
        found.append(AxisStep(axis="T", size=interval, unit=_SECONDS.get(unit, unit)))
    return tuple(found)


def read_optics(tif: tifffile.TiffFile) -> Optics:
    """Return what the OME metadata of the first image say of the optics.

    Emission wavelengths that differ between channels are left out.
    """
    if not tif.is_ome or tif.ome_metadata is None:
        return Optics()
    ome = tifffile.xml2dict(tif.ome_metadata).get("OME", {})
    image = _first(ome.get("Image"))
    size = _from_ome(tif.ome_metadata)
    waves = {
        _nanometres(channel, "EmissionWavelength")
        for channel in _listed(_first(image.get("Pixels")).get("Channel"))
    }
    used = _first(image.get("ObjectiveSettings")).get("ID")
    objectives = _listed(_first(ome.get("Instrument")).get("Objective"))
    apertures = [o.get("LensNA") for o in objectives if used is None or o.get("ID") == used]
    pixel = None if size is None else metres(size.x, size.unit)
    return known_optics(
        numerical_aperture=apertures[0] if len(apertures) == 1 else None,
        emission_nm=waves.pop() if len(waves) == 1 else None,
        pixel_size_nm=None if pixel is None else 1e9 * pixel,
    )


def _listed(value: Any) -> list[dict[str, Any]]:
    """Return elements of XML as a list, however many there are."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _first(value: Any) -> dict[str, Any]:
    found = _listed(value)
    return found[0] if found else {}


def _nanometres(record: dict[str, Any], name: str) -> float | None:
    """Return a length in nm, its unit by itself, from an element of XML."""
    number = as_number(record.get(name))
    value = None if number is None else metres(number, str(record.get(f"{name}Unit", "nm")))
    return None if value is None else 1e9 * value


def read_pixel_size(tif: tifffile.TiffFile) -> PixelSize | None:
    """Return the pixel size of the first image of a file, or None if it has none."""
    size: PixelSize | None = None
    if tif.is_ome and tif.ome_metadata is not None:
        size = _from_ome(tif.ome_metadata)
    elif tif.is_imagej:
        size = _from_imagej(tif)
    if size is None:
        size = _from_tags(tif)
    if size is not None and np.isfinite([size.y, size.x]).all() and min(size.y, size.x) > 0:
        return size
    return None


def _from_ome(xml: str) -> PixelSize | None:
    pixels = _ome_pixels(xml, 0)
    x = as_number(pixels.get("PhysicalSizeX"))
    y = as_number(pixels.get("PhysicalSizeY", x))
    if x is None or y is None:
        return None
    # The schema's default unit.
    unit = str(pixels.get("PhysicalSizeXUnit", "µm"))
    # One that is not given has that of the other, as its size has.
    other = str(pixels.get("PhysicalSizeYUnit", "µm" if "PhysicalSizeY" in pixels else unit))
    return _in_one_unit(y=y, x=x, unit_y=other, unit_x=unit, flavour="ome")


def _from_imagej(tif: tifffile.TiffFile) -> PixelSize | None:
    metadata = tif.imagej_metadata or {}
    unit, resolution = _imagej_unit(metadata, "unit"), _resolution(tif)
    if resolution is None or not unit:
        return None
    other = str(metadata.get("yunit", unit)).replace("\\u00B5", "µ").strip()
    return _in_one_unit(
        y=1 / resolution[1], x=1 / resolution[0], unit_y=other, unit_x=unit, flavour="imagej"
    )


def _in_one_unit(
    *, y: float, x: float, unit_y: str, unit_x: str, flavour: Flavour
) -> PixelSize | None:
    """Return the size of a pixel in the unit of its width; None if that is not possible."""
    if unit_y != unit_x:
        if unit_y not in METRES or unit_x not in METRES:
            return None
        y *= METRES[unit_y] / METRES[unit_x]
    return PixelSize(y=y, x=x, unit=unit_x, flavour=flavour)


def _from_tags(tif: tifffile.TiffFile) -> PixelSize | None:
    resolution = _resolution(tif)
    tag = tif.pages.first.tags.get("ResolutionUnit")
    unit = _TAG_UNITS.get(int(tag.value)) if tag is not None else None
    if resolution is None or unit is None:
        return None
    return PixelSize(y=1 / resolution[1], x=1 / resolution[0], unit=unit, flavour="tags")


def _resolution(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return pixels per unit along x and y."""
    tags = tif.pages.first.tags
    found = []
    for name in ("XResolution", "YResolution"):
        tag = tags.get(name)
        if tag is None or not isinstance(tag.value, tuple) or 0 in tag.value[:2]:
            return None
        found.append(tag.value[0] / tag.value[1])
    return found[0], found[1]


def _shaped_size(attributes: Mapping[str, Any]) -> PixelSize | None:
    y, x = (as_number(attributes.get(f"PhysicalSize{axis}")) for axis in "YX")
    unit = attributes.get("PhysicalSizeXUnit")
    if y is None or x is None or not min(y, x) > 0 or not isinstance(unit, str):
        return None
    return PixelSize(y=y, x=x, unit=unit, flavour="tags")


def plane_options(*, colour: bool, size: PixelSize | None) -> dict[str, Any]:
    """Return the options with which `tifffile` writes one grey or RGB image.

    The pixel size is written the way it was read. ImageJ has no RGB images of floats, so those
    become OME files.
    """
    described = Description(axes="YXS" if colour else "YX", pixel_size=size)
    if size is not None and size.flavour == "imagej" and not colour:
        hyperstack = imagej_options(described, ())
        if hyperstack is not None:
            return hyperstack | {"photometric": "minisblack"}
    if size is None or size.flavour == "tags":
        options = _options(described)
        # A size that the tags cannot hold stays in tifffile's own description.
        return options | ({"metadata": None} if size is None or "resolution" in options else {})
    return ome_options(described)


def ome_options(description: Description) -> dict[str, Any]:
    """Return the options with which `tifffile` writes OME-TIFF."""
    options = _options(description) | {"ome": True}
    channels = ome_channels(description)
    if channels:
        options["metadata"]["Channel"] = channels
    options["metadata"] |= _range_annotation(description.displays)
    return options


def plain_options(description: Description) -> dict[str, Any]:
    """Return the options with which `tifffile` writes its own kind: any axes and types."""
    options = _options(description)
    if description.channel_names:
        options["metadata"]["ChannelNames"] = list(description.channel_names)
    if description.channel_colors:
        options["metadata"]["ChannelColors"] = list(description.channel_colors)
    if description.displays:
        options["metadata"]["ChannelRanges"] = [one.limits for one in description.displays]
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
        options |= _resolution_tags(size)
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


def _resolution_tags(size: PixelSize) -> dict[str, Any]:
    """Return the resolution as plain tags, for programs that read no more than those."""
    length = METRES.get(size.unit)
    if length is None:
        return {}
    unit = "inch" if size.unit == "inch" else "cm"
    factor = METRES[unit] / length
    x, y = as_fraction(factor / size.x), as_fraction(factor / size.y)
    if x is None or y is None:
        return {}
    return {
        "resolution": (x, y),
        "resolutionunit": tifffile.RESUNIT.INCH if unit == "inch" else tifffile.RESUNIT.CENTIMETER,
    }


def imagej_options(description: Description, shape: Sequence[int]) -> dict[str, Any] | None:
    """Return the options with which `tifffile` writes a hyperstack of ImageJ of a shape.

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
        x, y = as_fraction(1 / size.x), as_fraction(1 / size.y)
        if x is None or y is None:
            return None
        options["resolution"] = (x, y)
        metadata["unit"] = unit
    if depth is not None:
        # One unit is that of all of space.
        same = size is not None and (
            depth.unit == size.unit
            or (depth.unit in METRES and METRES[depth.unit] == METRES.get(size.unit))
        )
        if not same:
            return None
        metadata["spacing"] = depth.size
    if time is not None:
        if time.unit not in ("s", "sec"):
            return None
        metadata |= {"finterval": time.size, "tunit": "sec"}
    metadata |= imagej_channels(description, shape)
    if description.mode:
        metadata["mode"] = description.mode
    if description.labels:
        metadata["Labels"] = list(description.labels)
    return options
