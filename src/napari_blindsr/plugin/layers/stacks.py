"""Axes of a layer with many planes, and its pixels, which are read plane by plane."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import SAMPLES, Layout, distinct_axes, parse_axes, parse_selection
from napari_blindsr.plugin.layers.inputs import LayerInput, Plane
from napari_blindsr.plugin.layers.read import array_of, layer_input, quoted, reading

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_blindsr.images.tiling import Box
    from napari_blindsr.stacks.options import StackOptions


WORDS = {
    "T": ("t", "time", "frame", "frames"),
    "Z": ("z", "depth"),
    "C": ("c", "ch", "channel", "channels"),
}
"""Labels of axes, apart from single letters."""

_LETTERS = {word: letter for letter, words in WORDS.items() for word in words}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerArray:
    """The array of a layer without alpha; it reads only what is sliced.

    `shape` is that of the layer, `start` the place of the array in it, `called` its name in
    messages.
    """

    array: Any
    shape: tuple[int, ...]
    called: str
    start: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a block, given an entry for each axis; raises an `InputError` if that fails."""
        cut = tuple(
            _moved(part, length, start)
            for part, length, start in zip(index, self.shape, self.start, strict=True)
        )
        with reading(self.called):
            return np.asarray(self.array[cut])


def _moved(part: int | slice, length: int, start: int) -> int | slice:
    if isinstance(part, slice):
        low, high, _ = part.indices(length)
        return slice(low - start, high - start)
    return part - start


def layer_array(layer: Image, cut: Sequence[slice]) -> LayerArray:
    """Return the finest array of a layer, to be read within one slice for each spatial axis.

    The slice of an array in memory is copied, because it may change before it is read.
    """
    array = array_of(layer)
    shape = tuple(int(n) for n in array.shape)
    shape = (*shape[:-1], 3) if layer.rgb else shape
    start = (0,) * len(shape)
    if isinstance(array, np.ndarray) and not _is_mapped(array):
        part = (*cut, slice(None)) if layer.rgb else tuple(cut)
        start = tuple(piece.indices(n)[0] for piece, n in zip(part, shape, strict=True))
        array = array[part].copy()
    return LayerArray(array=array, shape=shape, called=quoted(layer), start=start)


def layer_layout(layer: Image, plane: Plane) -> Layout:
    """Return the axes of a layer by their labels; the ones on display are Y and X.

    Axes without a label, or with one that is taken, have a letter that means nothing.
    """
    letters = [letter(str(label)) for label in layer.axis_labels]
    letters[plane.axes[0]], letters[plane.axes[1]] = "Y", "X"
    axes = distinct_axes("".join(letters)) + (SAMPLES if layer.rgb else "")
    shape = tuple(int(n) for n in array_of(layer).shape)
    return parse_axes(axes, (*shape[:-1], 3) if layer.rgb else shape)


def letter(label: str) -> str:
    """Return the letter of an axis by its label, or "Q" for an unknown label."""
    name = label.strip().lower()
    if name in _LETTERS:
        return _LETTERS[name]
    single = len(name) == 1 and "a" <= name <= "z" and name not in "yxs"
    return name.upper() if single else "Q"


UNLABELLED = re.compile(r"(axis )?(?P<place>-?\d*)")
"""How napari calls axes that have no label; older versions begin with a word."""
CHANNELS = 4
"""Most planes along an axis without a label that is taken for channels."""


def likely_letters(layer: Image) -> str:
    """Return the axes of a layer by their labels; without any, a short one is the channels."""
    labels = [str(label) for label in layer.axis_labels]
    if not all(UNLABELLED.fullmatch(label) for label in labels[:-2]):
        letters = [letter(label) for label in labels[:-2]]
        return distinct_axes("".join(letters)) + "YX"
    lengths = [int(n) for n in array_of(layer).shape[: layer.ndim - 2]]
    short = [n for n, length in enumerate(lengths) if length <= CHANNELS]
    rest = iter("TZ"[-(len(lengths) - bool(short)) :] if len(lengths) > bool(short) else "")
    guess = ["C" if short and n == short[-1] else next(rest, "Q") for n in range(len(lengths))]
    return distinct_axes("".join(guess)) + "YX"


def label_axes(layer: Image, axes: str) -> None:
    """Label the axes of a layer with a letter each.

    Raises an `InputError` unless these are different letters with Y and X among them.
    """
    letters = axes.strip().upper()
    distinct = len(set(letters)) == len(letters) and letters.isalpha() and letters.isascii()
    if len(letters) != layer.ndim or not distinct or not {"Y", "X"} <= set(letters):
        raise InputError(
            f"the axes are {axes!r}; expected {layer.ndim} different letters with Y and X among "
            f"them, such as {likely_letters(layer)}"
        )
    labels = tuple(letters.lower())
    before = tuple(map(str, layer.axis_labels))
    worded = not any(UNLABELLED.fullmatch(label) for label in before)
    # Words stay, if they mean these letters.
    if before != labels and not (worded and letters == likely_letters(layer)):
        layer.axis_labels = labels


def axes_text(layer: Image, layout: Layout) -> str:
    """Return the planes of a layer in the notation of a range, "T=0:20,C=0:2".

    An axis whose label differs from its letter is explained.
    """
    ranges = ",".join(
        f"{axis}=0:{n}" for axis, n in zip(layout.loop_axes, layout.loop_shape, strict=True)
    )
    labels = [(layout.axes[n], str(layer.axis_labels[n])) for n in layout.loops]
    other = [f"{axis} is {_called(label)}" for axis, label in labels if label.upper() != axis]
    return f"{ranges} ({', '.join(other)})" if other else ranges


def _called(label: str) -> str:
    """Return how to speak of an axis; napari counts those without a label from the end."""
    number = UNLABELLED.fullmatch(label)
    return f"axis {number['place']}" if number else repr(label)


def plane_text(layer: Image, plane: Plane) -> str:
    """Return the plane on display in the notation of a range, "T=3,C=1"."""
    axes = layer_layout(layer, plane).axes
    return ",".join(f"{axes[n]}={plane.index[n]}" for n in plane.others)


def read_stack(layer: Image, plane: Plane, options: StackOptions) -> LayerInput:
    """Prepare a layer to be read plane by plane. Call it on the main thread.

    `plane` is the one on display. Raises an `InputError` if the planes asked for do not exist.
    """
    layout = layer_layout(layer, plane)
    selection = parse_selection(options.planes, layout)
    chosen = dict(zip(layout.loops, selection, strict=True))
    array = layer_array(
        layer,
        [
            slice(chosen[axis].start, chosen[axis].stop) if axis in chosen else slice(None)
            for axis in range(layer.ndim)
        ],
    )
    first = tuple(chosen[axis].start if axis in chosen else None for axis in range(layer.ndim))
    return layer_input(
        layer,
        data=array,
        axes=layout.axes,
        region=options.region,
        options=options,
        plane=replace(plane, index=first),
    )


def read_part(layer: Image, plane: Plane, region: Box) -> LayerInput:
    """Prepare a region of a plane to be read. Call it on the main thread."""
    layout = layer_layout(layer, plane)
    cut = [slice(None) if at is None else slice(at, at + 1) for at in plane.index]
    array = layer_array(layer, cut)
    index = tuple(at for at in plane.index if at is not None)
    return layer_input(
        layer,
        data=layout.plane(array, index),
        axes=layout.plane_axes,
        plane=plane,
        region=region,
    )


def _is_mapped(array: Any) -> bool:
    """Tell whether an array, or what it is a view of, is a file mapped into memory."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False
