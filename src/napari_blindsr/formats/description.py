"""What an image file holds: its pixels, read when they are asked for, and what it says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from napari_blindsr.errors import InputError
from napari_blindsr.layout import distinct_axes

if TYPE_CHECKING:
    from types import EllipsisType

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.pixelsize import PixelSize


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
    return replace(file, description=replace(description, steps=steps, channel_names=names))


def _usable(step: AxisStep) -> bool:
    return math.isfinite(step.size) and step.size > 0


def guessed_axes(shape: tuple[int, ...]) -> str:
    """Return axes for an array of a file that names none.

    The last two are Y and X, or the last three Y, X and S if there are three or four samples
    and at least as many pixels either way.
    """
    colour = len(shape) >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) >= shape[-1]
    ends = "YXS" if colour else "YX"
    if len(shape) < 2:
        size = " × ".join(map(str, shape)) or "a single number"
        raise InputError(f"the image is {size}; expected two dimensions or more")
    return distinct_axes("Q" * (len(shape) - len(ends)) + ends)
