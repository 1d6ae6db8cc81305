"""What an image file says besides the pixels: axes, the size of a pixel, channels."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.optics import RANGES as OPTICS_RANGES
from napari_blindsr.optics import Optics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import EllipsisType

    from numpy.typing import NDArray


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
    """How far apart neighbours along an axis, such as "Z" or "T", are; the unit is the file's."""

    axis: str
    size: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of its image besides the pixels; an `InputError` if its axes are none.

    Attributes
    ----------
    axes : str
        One capital letter an axis, in the order of the array: Y, X, Z, T, "C" for channels
        that have nothing to do with each other, "S" for the red, green and blue of a colour
        image (always last, of length 3), other letters for what a file does not name.
    origin : (float, float)
        y and x of the centre of the first pixel, in the unit of `pixel_size`; 0 without one.
    steps : tuple of AxisStep
        Of the other axes, as far as the file has them.
    channel_names, channel_colors, displays : tuple
        One for each channel, one for an image without axis C, or none; colours are red, green and
        blue in hexadecimal, such as "00FF00".
    mode : str
        Of ImageJ: how channels are shown together, such as "composite".
    labels : tuple of str
        Of ImageJ: one for each plane, in the order T, Z, C.
    flavour : {"imagej", "ome", "tags"} or None
        The kind of TIFF file that it comes from, and becomes again where that can hold it.
    notes : tuple of str
        What was left out on reading, for people.
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
        """Return the step along an axis, or None if the file has none."""
        return next((step for step in self.steps if step.axis == axis), None)

    def finer(self, scale: int, *, first: tuple[float, float] = (0.0, 0.0)) -> Description:
        """Return the description of an image that is `scale` times finer in y and x.

        Its first pixel's centre lies at row and column `first` of this image.
        """
        if self.pixel_size is None:
            return self
        y, x = self.origin
        size = self.pixel_size
        return replace(
            self,
            pixel_size=size.divided(scale),
            origin=(y + first[0] * size.y, x + first[1] * size.x),
        )


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An open image: integers or floating point, with the axes that its description names."""

    array: LazyArray
    description: Description


def checked(name: str, file: ImageFile) -> ImageFile:
    """Return a file with a consistent description; an `InputError` if it is no usable image."""
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
        notes=(*description.notes, *notes_about(description.pixel_size)),
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


@dataclass(frozen=True, kw_only=True)
class PixelSize:
    """The height and width of a pixel, the unit as in the file.

    `flavour` says where the size stands in a TIFF file.
    """

    y: float
    x: float
    unit: str
    flavour: Flavour = "ome"

    def divided(self, scale: int) -> PixelSize:
        """Return the size of a pixel of an image that is `scale` times finer."""
        return replace(self, y=self.y / scale, x=self.x / scale)


def metres(value: float, unit: str) -> float | None:
    """Return a length in metres; None if its unit is no unit of length."""
    factor = METRES.get(unit)
    return None if factor is None else value * factor


def as_number(value: Any) -> float | None:
    """Return what a file has as a number, or None if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def as_fraction(value: float) -> tuple[int, int] | None:
    """Return a number as the fraction of a TIFF tag, or None if no such fraction is near it.

    Of floats tifffile's older versions make rougher ones, and newer ones none of large numbers.
    """
    largest = 2**32 - 1
    if not 0 < value <= largest:
        return None
    fraction = Fraction(value).limit_denominator(int(min(largest, largest / value)))
    exact = abs(float(fraction) / value - 1) < 1e-6
    return (fraction.numerator, fraction.denominator) if exact else None


def known_optics(**values: Any) -> Optics:
    """Return the optics that some numbers of a file mean; senseless ones are left out."""
    sensible: dict[str, float] = {}
    for name, value in values.items():
        low, high = OPTICS_RANGES[name]
        number = as_number(value)
        if number is not None and low <= number <= high:
            sensible[name] = number
    return Optics(**sensible)


SMALLEST, LARGEST = 1e-12, 1e3
"""Metres within which the sides of pixels lie, from electron microscopes to satellites."""


def notes_about(size: PixelSize | None) -> tuple[str, ...]:
    """Return notes on an unlikely pixel size."""
    metres = None if size is None else METRES.get(size.unit)
    if size is None or metres is None:
        return ()
    small, large = min(size.y, size.x), max(size.y, size.x)
    if small * metres < SMALLEST or large * metres > LARGEST or large > 100 * small:
        sides = f"{size.y:.3g} × {size.x:.3g} {size.unit}"
        return (f"a pixel of {sides} (height × width) is unlikely: check the file's metadata",)
    return ()


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


def known_limits(pair: Any) -> tuple[float, float] | None:
    """Return a display range of a file, or None if it is none."""
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _pairs(values: Any) -> list[tuple[float, float]]:
    flat = list(values) if isinstance(values, list | tuple) else []
    pairs = [known_limits(pair) for pair in zip(flat[::2], flat[1::2], strict=False)]
    usable = [pair for pair in pairs if pair is not None]
    return usable if len(usable) == len(pairs) else []
