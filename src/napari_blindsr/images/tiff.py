"""TIFF: plain, ImageJ and OME-TIFF; read in part, and written plane by plane or by tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile

from napari_blindsr.errors import BlindSRError, FileError
from napari_blindsr.images.atomic import check_output, part_of, writing
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.channels import (
    imagej_channels,
    imagej_colors,
    imagej_names,
    listed_texts,
    ome_channels,
    ome_colors,
    ome_names,
    several,
)
from napari_blindsr.images.display import ChannelDisplay, as_imagej, of_imagej
from napari_blindsr.images.lazy import MappedArray, colour_last
from napari_blindsr.images.lazy_values import upright
from napari_blindsr.images.metadata import (
    METRES,
    OME_UNITS,
    AxisStep,
    Description,
    ImageFile,
    PixelSize,
    plane_options,
    read_pixel_size,
    resolution_tags,
)
from napari_blindsr.images.pictures import never_written, refuse_to_write
from napari_blindsr.images.tiff_meaning import (
    check_companions,
    check_expansion,
    check_pages,
    listening,
    meaning_of,
    warnings_as_notes,
)
from napari_blindsr.images.tiff_pages import TiffPages, why
from napari_blindsr.images.writer import (
    Format,
    ImageWriter,
    Output,
    RawWriter,
    check_room,
    choose,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import LazyArray

    Part = int | slice | EllipsisType


COMPANIONS = ("thumbnail", "label", "macro")
"""What slide scanners call the small images beside the one that counts."""


def open_tiff(path: Path, axes: str | None, series: int | None) -> ImageFile:
    """Open an image of a file, at its full size if it is there in several."""
    try:
        return _open(path, axes, series)
    except BlindSRError:
        raise
    except tifffile.TiffFileError as error:
        raise FileError(f"cannot read {path}: it is no TIFF image") from error
    except Exception as error:
        # Damaged files fail in every way there is.
        raise FileError(f"cannot read {path}: {why(error)}") from error


def choose_series(path: Path, tif: tifffile.TiffFile, number: int | None) -> int:
    """Return which image of a file is meant; small companions of a slide do not count.

    Raises
    ------
    InputError
        If it is not clear, or there is no such one.
    """
    if not tif.series:
        raise FileError(f"cannot read {path}: it holds no image")
    names = [
        f"{series.name} {' × '.join(map(str, series.shape))} {series.axes}".strip()
        for series in tif.series
    ]
    main = [n for n, s in enumerate(tif.series) if s.name.lower() not in COMPANIONS]
    if number is None and len(main) == 1:
        return main[0]
    return choose(path, names, number)


def _open(path: Path, axes: str | None, number: int | None) -> ImageFile:
    with listening() as said, tifffile.TiffFile(path) as tif:
        notes = check_companions(path, tif)
        number = choose_series(path, tif, number)
        series = tif.series[number]
        notes = (*notes, *check_pages(path, tif, number))
        meaning = meaning_of(tif, series)
        stored = distinct_axes(series.axes)
        facts = read_metadata(tif, number, meaning.colour_map)
        # Those of several files lie at the same offsets, but not in one file.
        offset = None if series.is_multifile else series.dataoffset
        shape, dtype = tuple(series.shape), np.dtype(series.dtype)
        length = tif.filehandle.size
        order = tif.byteorder
        handles = (page.parent.filehandle for page in series.pages if page is not None)
        files = {handle.name: handle.size for handle in handles}
    array: LazyArray
    if offset is None:
        check_expansion(path, math.prod(shape) * dtype.itemsize, sum(files.values()))
        array = TiffPages(path, number)
        # What cannot be decoded is told before the work.
        _ = array[tuple(slice(0, 1) for _ in shape)]
    else:
        array = MappedArray(path, offset, shape, dtype.newbyteorder(order))
        if offset + array.nbytes > length:
            raise FileError(
                f"cannot read {path}: damaged or unknown TIFF image ({length} bytes; expected "
                f"{offset + array.nbytes})"
            )
    array, stored = meaning.applied(array, stored)
    stored = axes or stored
    size = facts.pixel_size
    if len(stored) == array.ndim:
        array, swapped = upright(array, stored, meaning.orientation)
        if swapped and size is not None:
            size = replace(size, y=size.x, x=size.y)
        array, stored, notes = colour_last(
            array,
            stored,
            notes,
            colours=meaning.colours or axes is not None,
            alpha=meaning.alpha,
        )
    return ImageFile(
        array=array,
        description=Description(
            axes=stored,
            pixel_size=size,
            steps=facts.steps,
            channel_names=facts.channel_names,
            channel_colors=facts.channel_colors,
            displays=facts.displays,
            mode=facts.mode,
            labels=facts.labels,
            flavour=facts.flavour,
            notes=(*notes, *meaning.notes, *facts.notes, *warnings_as_notes(said)),
        ),
    )


def check_tiff(output: Output) -> None:
    """Check that an image can be written, and held."""
    check_output(output.path, suffixes=SUFFIXES, force=output.force)
    code = output.dtype.str[1:]
    if output.path.name.lower().endswith(OME_SUFFIXES) and (
        code not in _OME_TYPES or not set(output.description.axes) <= _OME_AXES
    ):
        raise FileError(
            f"cannot write {output.path}: OME-TIFF does not hold a {output.dtype} image with axes "
            f"{output.description.axes}; expected axes of {''.join(sorted(_OME_AXES))}, 8- to "
            "32-bit integers, float32 or float64; or a name that ends in .zarr, or in .tif alone"
        )
    check_room(output.path, output.nbytes)


def create_tiff(output: Output) -> ImageWriter:
    """Begin an image; its planes lie one behind the other, not compressed."""
    part = part_of(output.path)
    stored, options = _layout(output)
    axes = output.description.axes
    lengths = dict(zip(axes, output.shape, strict=True))
    with writing(output.path):
        try:
            made = tifffile.imwrite(
                part,
                shape=tuple(lengths[axis] for axis in stored),
                dtype=output.dtype,
                returnoffset=True,
                **options,
            )
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        assert made is not None  # not compressed, so in one piece
        order = _byte_order(part)
    return RawWriter(
        output, part, offset=made[0], dtype=output.dtype.newbyteorder(order), stored=stored
    )


SUFFIXES = (".tif", ".tiff")


FORMAT = Format(
    name="TIFF",
    suffixes=SUFFIXES,
    open=open_tiff,
    check=check_tiff,
    create=create_tiff,
    several=True,
)
KIN = Format(
    name="TIFF of instruments",
    suffixes=(".lsm", ".stk", ".svs", ".ndpi", ".btf", ".qptiff"),
    open=open_tiff,
    check=refuse_to_write,
    create=never_written,
    several=True,
    written=False,
)

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
    channel_colors: tuple[str, ...] = ()
    pixel_size: PixelSize | None = None
    displays: tuple[ChannelDisplay, ...] = ()
    mode: str = ""
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_metadata(
    tif: tifffile.TiffFile, number: int = 0, colour_map: NDArray[np.uint8] | None = None
) -> TiffFacts:
    """Return what a file says of one of its images; `colour_map` is that of its pages."""
    size = read_pixel_size(tif)
    if tif.is_ome and tif.ome_metadata is not None:
        pixels = _ome_pixels(tif.ome_metadata, number)
        return TiffFacts(
            flavour="ome",
            steps=_steps(pixels),
            channel_names=ome_names(pixels),
            channel_colors=ome_colors(pixels),
            pixel_size=size,
        )
    if tif.is_imagej:
        told = tif.imagej_metadata or {}
        names, mode = imagej_names(told), str(told.get("mode", ""))
        return TiffFacts(
            flavour="imagej",
            steps=_imagej_steps(told),
            channel_names=names,
            channel_colors=imagej_colors(told),
            pixel_size=size,
            displays=of_imagej(told, colour_map),
            # How channels are shown is told by their colours, where it is not another way.
            mode=mode if "LUTs" in told and mode != "composite" else "",
            labels=() if names else tuple(map(str, several(told.get("Labels")))),
        )
    shaped = (tif.shaped_metadata or ({},))[0]
    return TiffFacts(
        flavour="tags",
        steps=_steps(shaped),
        channel_names=listed_texts(shaped, "ChannelNames"),
        channel_colors=listed_texts(shaped, "ChannelColors"),
        pixel_size=_shaped_size(shaped) or size,
    )


def _shaped_size(attributes: Mapping[str, Any]) -> PixelSize | None:
    y, x = (_number(attributes.get(f"PhysicalSize{axis}")) for axis in "YX")
    unit = attributes.get("PhysicalSizeXUnit")
    if y is None or x is None or not min(y, x) > 0 or not isinstance(unit, str):
        return None
    return PixelSize(y=y, x=x, unit=unit, flavour="tags")


def _ome_pixels(xml: str, number: int) -> Mapping[str, Any]:
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image")
    image = image[min(number, len(image) - 1)] if isinstance(image, list) else image
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
    unit = str(metadata.get("zunit", metadata.get("unit", ""))).replace("\\u00B5", "µ").strip()
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
    channels = ome_channels(description)
    if channels:
        options["metadata"]["Channel"] = channels
    return options


def plain_options(description: Description) -> dict[str, Any]:
    """Return the options with which `tifffile` writes its own kind: any axes and types."""
    options = _options(description)
    if description.channel_names:
        options["metadata"]["ChannelNames"] = list(description.channel_names)
    if description.channel_colors:
        options["metadata"]["ChannelColors"] = list(description.channel_colors)
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
    metadata |= imagej_channels(description, shape)
    metadata |= as_imagej(description.displays, description.channel_colors)
    if description.mode:
        metadata["mode"] = description.mode
    if description.labels:
        metadata["Labels"] = list(description.labels)
    return options


def _same_unit(one: str, other: str) -> bool:
    return one == other or (one in METRES and METRES.get(one) == METRES.get(other))


OME_SUFFIXES = (".ome.tif", ".ome.tiff")
_OME_AXES = frozenset("TZCYXS")
_OME_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")
_IMAGEJ_ORDER = "TZCYXS"
_IMAGEJ_TYPES = ("u1", "u2", "f4")
_IMAGEJ_COLOUR_TYPES = ("u1",)
# Offsets of ordinary TIFF are of 32 bits; the rest is left for the head.
_IMAGEJ_LIMIT = 2**32 - 2**25


def _byte_order(path: Path) -> Literal["<", ">"]:
    with path.open("rb") as stream:
        return ">" if stream.read(2) == b"MM" else "<"


def _layout(output: Output) -> tuple[str, dict[str, Any]]:
    """Return the axes in the order of the file, and the options that describe it."""
    given = output.description
    # Planes are what TIFF consists of.
    planes = "YXS" if "S" in given.axes else "YX"
    stored = "".join(axis for axis in given.axes if axis not in planes) + planes
    description = replace(given, axes=stored)
    if not output.path.name.lower().endswith(OME_SUFFIXES):
        ome = given.pixel_size is not None and given.pixel_size.flavour != "tags"
        plain = not (given.channel_names or given.channel_colors or given.displays or given.labels)
        if stored == planes and plain and (output.dtype.str[1:] in _OME_TYPES or not ome):
            return stored, plane_options(colour=planes == "YXS", size=given.pixel_size)
        if given.flavour == "imagej":
            hyperstack = _hyperstack(output, description)
            if hyperstack is not None:
                return hyperstack
    if output.dtype.str[1:] in _OME_TYPES and set(stored) <= _OME_AXES:
        return stored, ome_options(description)
    return stored, plain_options(description)


def _hyperstack(output: Output, description: Description) -> tuple[str, dict[str, Any]] | None:
    stored = "".join(axis for axis in _IMAGEJ_ORDER if axis in description.axes)
    types = _IMAGEJ_COLOUR_TYPES if "S" in stored else _IMAGEJ_TYPES
    if len(stored) < len(description.axes) or output.dtype.str[1:] not in types:
        return None
    if output.nbytes > _IMAGEJ_LIMIT:
        return None
    lengths = dict(zip(output.description.axes, output.shape, strict=True))
    shape = [lengths[axis] for axis in stored]
    options = imagej_options(replace(description, axes=stored), shape)
    return None if options is None else (stored, options)
