"""What an image file holds: lazy pixels, axes, and the size of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import tifffile

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.optics import RANGES as OPTICS_RANGES
from napari_blindsr.optics import Optics

if TYPE_CHECKING:
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.images.display import ChannelDisplay


class LazyArray(Protocol):
    """An array of which only what is sliced is read.

    Slicing takes integers, slices with a positive step and an ellipsis, and returns a NumPy
    array of its own memory or a read-only one; damage in the file raises `FileError` then.
    Pickling one carries the name of the file, not the pixels (a PNG image excepted).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""

    @property
    def ndim(self) -> int:
        """How many axes it has."""

    def __getitem__(
        self, index: int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...], /
    ) -> NDArray[Any]: ...


@dataclass(frozen=True, kw_only=True)
class AxisStep:
    """How far apart neighbours along an axis are.

    Attributes
    ----------
    axis : str
        Its letter, such as "Z" or "T".
    size : float
        Above 0.
    unit : str
        As the file has it, such as "µm" or "s".
    """

    axis: str
    size: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of its image besides the pixels.

    Attributes
    ----------
    axes : str
        One capital letter an axis, in the order of the array: Y, X, Z, T, "C" for channels
        that have nothing to do with each other, "S" for the red, green and blue of a colour
        image (always last, of length 3), other letters for what a file does not name.
    pixel_size : PixelSize or None
        None if the file tells none.
    origin : (float, float)
        y and x of the centre of the first pixel, in the unit of `pixel_size`; 0 without one.
    steps : tuple of AxisStep
        Of the other axes, as far as the file tells.
    channel_names : tuple of str
        One for each channel, one for an image without axis C, or none.
    channel_colors : tuple of str
        As `channel_names`: red, green and blue in hexadecimal, such as "00FF00".
    displays : tuple of ChannelDisplay
        How the channels are shown: one for each, one for an image without axis C, or none.
    mode : str
        Of ImageJ: how channels are shown together, such as "composite".
    labels : tuple of str
        Of ImageJ: one for each plane, in the order T, Z, C.
    flavour : {"imagej", "ome", "tags"} or None
        The kind of TIFF file that it comes from; a TIFF file of it becomes the same kind where
        that can hold it.
    notes : tuple of str
        What was left out on reading, fit to be shown.

    Raises
    ------
    InputError
        If the axes are no such letters.
    """

    axes: str
    pixel_size: PixelSize | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    steps: tuple[AxisStep, ...] = ()
    channel_names: tuple[str, ...] = ()
    channel_colors: tuple[str, ...] = ()
    displays: tuple[ChannelDisplay, ...] = ()
    mode: str = ""
    labels: tuple[str, ...] = ()
    flavour: Literal["imagej", "ome", "tags"] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        letters = set(self.axes)
        named = all("A" <= letter <= "Z" for letter in letters)
        if not named or len(letters) < len(self.axes) or not letters >= {"Y", "X"}:
            raise InputError(
                f"the axes are {self.axes!r}; expected capital letters, each once, with Y and X "
                "among them, such as TCZYX"
            )
        if "S" in self.axes[:-1]:
            raise InputError(f"the axes are {self.axes!r}; expected S (RGB) to be the last")

    def step(self, axis: str) -> AxisStep | None:
        """Return the step along an axis, or None if the file tells none."""
        return next((step for step in self.steps if step.axis == axis), None)

    def finer(self, scale: int, *, shift: float = 0.0) -> Description:
        """Return the description of an image that is `scale` times finer in y and x.

        Parameters
        ----------
        scale : int
        shift : float
            Where its first pixel's centre lies, in pixels of this image.
        """
        if self.pixel_size is None:
            return self
        y, x = self.origin
        size = self.pixel_size
        return replace(
            self,
            pixel_size=size.divided(scale),
            origin=(y + shift * size.y, x + shift * size.x),
        )


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An open image.

    Attributes
    ----------
    array : LazyArray
        Integers or floating point, with the axes that the description names.
    description : Description
    """

    array: LazyArray
    description: Description


def checked(name: str, file: ImageFile) -> ImageFile:
    """Return a file if its image can be worked with, and its description fits its array.

    Raises
    ------
    InputError
    """
    array, description = file.array, file.description
    size = " × ".join(map(str, array.shape)) or "a single number"
    if array.dtype.kind not in "uif":
        raise InputError(
            f"{name} holds values of type {array.dtype}; expected integers or floating point"
        )
    if array.ndim != len(description.axes):
        raise InputError(
            f"{name} holds {size}, but the axes {description.axes} mean "
            f"{len(description.axes)} dimensions"
        )
    if 0 in array.shape:
        raise InputError(f"{name} is empty ({size}); expected at least one pixel")
    if description.axes.endswith("S") and array.shape[-1] != 3:
        raise InputError(f"{name} has {array.shape[-1]} samples a pixel (axis S); expected 3")
    channels = array.shape[description.axes.index("C")] if "C" in description.axes else 1
    steps = tuple(s for s in description.steps if _usable(s) and s.axis in description.axes)
    names = description.channel_names if len(description.channel_names) == channels else ()
    colors = description.channel_colors if len(description.channel_colors) == channels else ()
    planes = math.prod(
        n for axis, n in zip(description.axes, array.shape, strict=True) if axis not in "YXS"
    )
    known = replace(
        description,
        steps=steps,
        channel_names=names,
        channel_colors=colors,
        displays=description.displays if len(description.displays) == channels else (),
        labels=description.labels if len(description.labels) == planes else (),
        notes=(*description.notes, *doubts_about(description.pixel_size)),
    )
    return replace(file, description=known)


def _usable(step: AxisStep) -> bool:
    return math.isfinite(step.size) and step.size > 0


def guessed_axes(shape: tuple[int, ...]) -> str:
    """Return axes for an array of a file that names none.

    The last two are Y and X. If the last is of length 3 or 4, and there are at least as many
    pixels either way, they are Y, X and S, or C where there are four: nothing says that one of
    them is opacity.
    """
    ends = "YX"
    if len(shape) >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) >= shape[-1]:
        ends = "YXS" if shape[-1] == 3 else "YXC"
    if len(shape) < 2:
        size = " × ".join(map(str, shape)) or "a single number"
        raise InputError(f"the image is {size}; expected two dimensions or more")
    return distinct_axes("Q" * (len(shape) - len(ends)) + ends)


Flavour = Literal["imagej", "ome", "tags"]

# tifffile.RESUNIT
_TAG_UNITS = {2: "inch", 3: "cm"}
METRES = {
    "pm": 1e-12,
    "Å": 1e-10,
    "angstrom": 1e-10,
    "nm": 1e-9,
    "um": 1e-6,
    "µm": 1e-6,
    "μm": 1e-6,
    "micron": 1e-6,
    "microns": 1e-6,
    "micrometer": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "inch": 0.0254,
    "in": 0.0254,
    "ft": 0.3048,
}
OME_UNITS = {"um": "µm", "μm": "µm", "micron": "µm", "microns": "µm", "inch": "in"}


@dataclass(frozen=True, kw_only=True)
class PixelSize:
    """How large a pixel is.

    Attributes
    ----------
    y, x : float
        Height and width, in `unit`.
    unit : str
        As the file has it.
    flavour : {"imagej", "ome", "tags"}
        Where it stands in a TIFF file.
    """

    y: float
    x: float
    unit: str
    flavour: Flavour = "ome"

    def divided(self, scale: int) -> PixelSize:
        """Return the size of a pixel of an image that is `scale` times finer."""
        return replace(self, y=self.y / scale, x=self.x / scale)


def read_optics(tif: tifffile.TiffFile) -> Optics:
    """Return what the OME metadata of the first image of a TIFF file tell of the optics.

    Emission wavelengths that differ between channels tell of none for all of them.
    """
    if not tif.is_ome or tif.ome_metadata is None:
        return Optics()
    ome = tifffile.xml2dict(tif.ome_metadata).get("OME", {})
    image = _first(ome.get("Image"))
    size = _from_ome(tif.ome_metadata)
    waves = {
        _length(channel, "EmissionWavelength", "nm")
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


def metres(value: float, unit: str) -> float | None:
    """Return a length in metres; None if its unit is none of length."""
    factor = METRES.get(unit)
    return None if factor is None else value * factor


def known_optics(**values: Any) -> Optics:
    """Return the optics that numbers of a file stand for; what makes no sense is left out."""
    sensible: dict[str, float] = {}
    for name, value in values.items():
        low, high = OPTICS_RANGES[name]
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if low <= number <= high:
            sensible[name] = number
    return Optics(**sensible)


def _listed(value: Any) -> list[dict[str, Any]]:
    """Return elements of XML as a list, however many there are."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _first(value: Any) -> dict[str, Any]:
    found = _listed(value)
    return found[0] if found else {}


def _length(record: dict[str, Any], name: str, unit: str) -> float | None:
    """Return a length in nm, whatever its unit."""
    try:
        value = metres(float(record[name]), str(record.get(f"{name}Unit", unit)))
    except (KeyError, TypeError, ValueError):
        return None
    return None if value is None else 1e9 * value


def read_pixel_size(tif: tifffile.TiffFile) -> PixelSize | None:
    """Return the pixel size of the first image of a TIFF file, or None if it tells none."""
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
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image")
    image = image[0] if isinstance(image, list) else image
    pixels = image.get("Pixels", {}) if isinstance(image, dict) else {}
    try:
        x = float(pixels["PhysicalSizeX"])
        y = float(pixels.get("PhysicalSizeY", x))
    except (KeyError, TypeError, ValueError):
        return None
    # The schema's default unit.
    unit = str(pixels.get("PhysicalSizeXUnit", "µm"))
    # One that is not given has that of the other, as its size has.
    other = str(pixels.get("PhysicalSizeYUnit", "µm" if "PhysicalSizeY" in pixels else unit))
    return in_one_unit(y=y, x=x, unit_y=other, unit_x=unit, flavour="ome")


def in_one_unit(
    *, y: float, x: float, unit_y: str, unit_x: str, flavour: Flavour
) -> PixelSize | None:
    """Return the size of a pixel in the unit of its width; None if that is not possible."""
    if unit_y != unit_x:
        if unit_y not in METRES or unit_x not in METRES:
            return None
        y *= METRES[unit_y] / METRES[unit_x]
    return PixelSize(y=y, x=x, unit=unit_x, flavour=flavour)


def doubts_about(size: PixelSize | None) -> tuple[str, ...]:
    """Return what is odd about the size of a pixel, fit to be shown."""
    metres = None if size is None else METRES.get(size.unit)
    if size is None or metres is None:
        return ()
    small, large = min(size.y, size.x), max(size.y, size.x)
    if small * metres < SMALLEST or large * metres > LARGEST or large > 100 * small:
        sides = f"{size.y:.3g} × {size.x:.3g} {size.unit}"
        return (f"a pixel of {sides} (height × width) is unlikely: check the file's metadata",)
    return ()


SMALLEST, LARGEST = 1e-12, 1e3
"""Metres within which the sides of pixels lie, from electron microscopes to satellites."""


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


def _from_imagej(tif: tifffile.TiffFile) -> PixelSize | None:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ").strip()
    resolution = _resolution(tif)
    if resolution is None or unit in ("", "pixel", "pixels"):
        return None
    other = str(metadata.get("yunit", unit)).replace("\\u00B5", "µ").strip()
    return in_one_unit(
        y=1 / resolution[1], x=1 / resolution[0], unit_y=other, unit_x=unit, flavour="imagej"
    )


def _from_tags(tif: tifffile.TiffFile) -> PixelSize | None:
    resolution = _resolution(tif)
    tag = tif.pages.first.tags.get("ResolutionUnit")
    unit = _TAG_UNITS.get(int(tag.value)) if tag is not None else None
    if resolution is None or unit is None:
        return None
    return PixelSize(y=1 / resolution[1], x=1 / resolution[0], unit=unit, flavour="tags")


def tiff_options(image: NDArray[Any], size: PixelSize | None) -> dict[str, Any]:
    """Return the options with which `tifffile.imwrite` stores an image and its pixel size.

    The size is written the way it was read. ImageJ has no RGB images of floats, so those
    become OME files.
    """
    return plane_options(colour=image.ndim == 3, size=size)


def plane_options(*, colour: bool, size: PixelSize | None) -> dict[str, Any]:
    """Return those options for one grey or RGB image."""
    options: dict[str, Any] = {
        "photometric": "rgb" if colour else "minisblack",
        "metadata": None,
    }
    if size is None:
        return options
    if size.flavour == "imagej" and not colour:
        # ImageJ's description is ASCII.
        unit = "um" if METRES.get(size.unit) == METRES["um"] else size.unit
        if unit.isascii():
            options |= {
                "imagej": True,
                "resolution": (1 / size.x, 1 / size.y),
                "metadata": {"axes": "YX", "unit": unit},
            }
            return options
    options |= resolution_tags(size)
    if size.flavour != "tags":
        unit = OME_UNITS.get(size.unit, size.unit)
        options["ome"] = True
        options["metadata"] = {
            "axes": "YXS" if colour else "YX",
            "PhysicalSizeX": size.x,
            "PhysicalSizeXUnit": unit,
            "PhysicalSizeY": size.y,
            "PhysicalSizeYUnit": unit,
        }
    return options


def resolution_tags(size: PixelSize) -> dict[str, Any]:
    """Return the resolution as plain tags, for programs that read no more than those."""
    metres = METRES.get(size.unit)
    if metres is None:
        return {}
    unit = "inch" if size.unit == "inch" else "cm"
    factor = METRES[unit] / metres
    return {
        "resolution": (factor / size.x, factor / size.y),
        "resolutionunit": tifffile.RESUNIT.INCH if unit == "inch" else tifffile.RESUNIT.CENTIMETER,
    }
