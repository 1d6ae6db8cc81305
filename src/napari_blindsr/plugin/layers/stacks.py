"""From a layer to a stack: which axes it has, and its pixels, read when their turn comes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.images.axes import SAMPLES, Layout, distinct_axes, parse_axes, parse_selection
from napari_blindsr.plugin.layers.frame import Frame
from napari_blindsr.plugin.layers.inputs import Appearance, LayerInput, Plane, StackInput
from napari_blindsr.plugin.layers.read import finest, quoted, reading

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
"""What axes are called, apart from single letters."""

_LETTERS = {word: letter for letter, words in WORDS.items() for word in words}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerArray:
    """The array of a layer: nothing is read but what is sliced, and no alpha.

    Attributes
    ----------
    array : array
    shape : tuple of int
        Of the layer; 3 samples for four.
    called : str
        How messages call the layer.
    start : tuple of int
        Where the array begins in the layer: it may be a part of it.
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
        """Read a block: an entry for each axis.

        Raises
        ------
        InputError
            If its pixels cannot be read.
        """
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
    """Return the finest array of a layer, to be read in a part of it, one slice a spatial axis.

    Arrays in memory are copied, because they may change before their turn comes; others are not.
    """
    array = finest(layer)
    shape = tuple(int(n) for n in array.shape)
    shape = (*shape[:-1], 3) if layer.rgb else shape
    start = (0,) * len(shape)
    if isinstance(array, np.ndarray) and not _is_mapped(array):
        part = (*cut, slice(None)) if layer.rgb else tuple(cut)
        start = tuple(piece.indices(n)[0] for piece, n in zip(part, shape, strict=True))
        array = array[part].copy()
    return LayerArray(array=array, shape=shape, called=quoted(layer), start=start)


def layer_layout(layer: Image, plane: Plane) -> Layout:
    """Return what the axes of a layer are, by their labels.

    Those on display are Y and X. Others are called by a letter or a word such as "time"; what is
    not labelled, or twice, has a letter that means nothing.
    """
    letters = [letter(str(label)) for label in layer.axis_labels]
    letters[plane.axes[0]], letters[plane.axes[1]] = "Y", "X"
    axes = distinct_axes("".join(letters)) + (SAMPLES if layer.rgb else "")
    shape = tuple(int(n) for n in finest(layer).shape)
    return parse_axes(axes, (*shape[:-1], 3) if layer.rgb else shape)


def letter(label: str) -> str:
    """Return the letter of an axis by its label; "Q" if the label tells none."""
    name = label.strip().lower()
    if name in _LETTERS:
        return _LETTERS[name]
    single = len(name) == 1 and "a" <= name <= "z" and name not in "yxs"
    return name.upper() if single else "Q"


UNLABELLED = re.compile(r"-?\d*")
CHANNELS = 4
"""Up to how many planes along an axis without a label are taken for channels."""


def likely_letters(layer: Image) -> str:
    """Return what the axes of a layer are by their labels, or are likely to be without any.

    A short axis is one of channels, others are time and depth.
    """
    labels = [str(label) for label in layer.axis_labels]
    if not all(UNLABELLED.fullmatch(label) for label in labels[:-2]):
        letters = [letter(label) for label in labels[:-2]]
        return distinct_axes("".join(letters)) + "YX"
    lengths = [int(n) for n in finest(layer).shape[: layer.ndim - 2]]
    short = [n for n, length in enumerate(lengths) if length <= CHANNELS]
    rest = iter("TZ"[-(len(lengths) - bool(short)) :] if len(lengths) > bool(short) else "")
    guess = ["C" if short and n == short[-1] else next(rest, "Q") for n in range(len(lengths))]
    return distinct_axes("".join(guess)) + "YX"


def label_axes(layer: Image, axes: str) -> None:
    """Label the axes of a layer.

    Parameters
    ----------
    layer : napari.layers.Image
    axes : str
        A letter for each.

    Raises
    ------
    InputError
        If these are not as many different letters, or Y and X are not among them.
    """
    letters = axes.strip().upper()
    distinct = len(set(letters)) == len(letters) and letters.isalpha() and letters.isascii()
    if len(letters) != layer.ndim or not distinct or not {"Y", "X"} <= set(letters):
        raise InputError(
            f"the axes are {axes!r}; expected {layer.ndim} different letters with Y and X among "
            f"them, such as {likely_letters(layer)}"
        )
    labels = tuple(letters.lower())
    if tuple(layer.axis_labels) != labels and letters != likely_labelled(layer):
        layer.axis_labels = labels


def likely_labelled(layer: Image) -> str:
    """Return the letters of a layer whose axes are labelled by words, or nothing."""
    labels = [str(label) for label in layer.axis_labels]
    if any(UNLABELLED.fullmatch(label) for label in labels):
        return ""
    return likely_letters(layer)


def axes_text(layer: Image, layout: Layout) -> str:
    """Return which planes there are, in the way in which a range is written: "T=0:20,C=0:2".

    An axis whose label is another one than its letter is explained.
    """
    ranges = ",".join(
        f"{axis}=0:{n}" for axis, n in zip(layout.loop_axes, layout.loop_shape, strict=True)
    )
    labels = [(layout.axes[n], str(layer.axis_labels[n])) for n in layout.loops]
    other = [
        # napari counts what is not labelled from the end.
        f"{axis} is {f'axis {label}' if label.startswith('-') else repr(label)}"
        for axis, label in labels
        if label.upper() != axis
    ]
    return f"{ranges} ({', '.join(other)})" if other else ranges


def plane_text(layer: Image, plane: Plane) -> str:
    """Return the plane on display in the way in which a range is written: "T=3,C=1"."""
    axes = layer_layout(layer, plane).axes
    return ",".join(f"{axes[n]}={plane.index[n]}" for n in plane.others)


def read_stack(layer: Image, plane: Plane, options: StackOptions) -> StackInput:
    """Make a layer ready to be read plane by plane. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
    plane : Plane
        The one on display, which tells what is a plane.
    options : StackOptions

    Raises
    ------
    InputError
        If such planes are not there.
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
    return StackInput(
        name=str(layer.name),
        array=array,
        layout=layout,
        options=options,
        plane=replace(plane, index=first),
        frame=Frame.of_layer(layer),
        appearance=Appearance.of_layer(layer),
        notes=_notes(layer),
    )


def read_part(layer: Image, plane: Plane, region: Box) -> LayerInput:
    """Make a plane of a layer ready for a region of it to be read. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
    plane : Plane
    region : Box
    """
    layout = layer_layout(layer, plane)
    cut = [slice(None) if at is None else slice(at, at + 1) for at in plane.index]
    array = layer_array(layer, cut)
    index = tuple(at for at in plane.index if at is not None)
    return LayerInput(
        name=str(layer.name),
        data=layout.plane(array, index),
        axes=layout.plane_axes,
        plane=plane,
        frame=Frame.of_layer(layer),
        appearance=Appearance.of_layer(layer),
        notes=_notes(layer),
        region=region,
    )


def _notes(layer: Image) -> tuple[str, ...]:
    with_alpha = layer.rgb and finest(layer).shape[-1] == 4
    return ("alpha channel left out",) if with_alpha else ()


def _is_mapped(array: Any) -> bool:
    """Tell whether an array, or what it is a view of, is a file mapped into memory."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False
