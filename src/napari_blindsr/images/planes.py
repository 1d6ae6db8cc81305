"""Arrays of any axes, type and intensity range, to scaled float planes and back; orientations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_blindsr.errors import InputError, NoContrastError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.images.tiling import Box
    from napari_blindsr.types import Geometry


AXES = ("YX", "YXC", "CYX")
FOOTROOM = 0.25
"""How far below the smallest input a result may go, in units of the input's range: a blurred
input overstates its gaps as it understates its peaks."""


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Float planes (C, h, w), and what turns a result back into an array.

    `data` is (intensity − low) / span, 0 where pixels are missing; `measured` (h, w) has the valid
    pixels, None means all; `gain` is the brightness of the data relative to the result; `axes` are
    "YX", "YXC" or "CYX".
    """

    data: NDArray[np.float32]
    measured: NDArray[np.bool_] | None = None
    gain: float = 1.0
    low: float
    span: float
    axes: str


def to_planes(
    image: ArrayLike,
    *,
    axes: str | None,
    geometry: Geometry,
    covered: NDArray[np.bool_] | None = None,
    gain: float | Literal["auto"] = 1.0,
) -> Planes:
    """Check an image, (h, w), (h, w, 3) or, by `axes`, (C, h, w), and scale it.

    Values must be finite where not `covered` (h, w). The published test data (`geometry`
    "benchmark") use the whole range of their type; a camera's image uses the range that its data
    have. A `gain` other than 1 multiplies intensities, so zero then means no light.

    Raises
    ------
    InputError
        If it is no such image.
    """
    array = np.asarray(image)
    axes = check_axes(array, axes)
    if isinstance(image, np.ma.MaskedArray) and np.ma.is_masked(image):
        hidden = _anywhere(np.ma.getmaskarray(image), axes)
        covered = hidden if covered is None else covered | hidden
    planes = array[None] if axes == "YX" else array
    if axes == "YXC":
        planes = np.moveaxis(planes, -1, 0)
    measured = None if covered is None or not covered.any() else ~covered
    values = planes if measured is None else planes[:, measured]
    _check_values(values)
    if gain == "auto":
        gain = _automatic_gain(values)
    low, span = _range(values, geometry)
    if gain != 1:
        low, span = 0.0, (span if geometry == "benchmark" else float(values.max()) / gain)
    scaled = (planes.astype(np.float64) - low) / span
    if measured is not None:
        scaled = np.where(measured, scaled, 0)
    return Planes(
        data=np.ascontiguousarray(scaled, dtype=np.float32),
        measured=measured,
        gain=gain,
        low=low,
        span=span,
        axes=axes,
    )


def find_covered(
    image: ArrayLike, *, axes: str | None, mask: ArrayLike | None, saturated: bool
) -> NDArray[np.bool_]:
    """Return the missing pixels (h, w) of an image; an `InputError` if no pixel is left.

    Missing are pixels that are not finite or masked (`numpy.ma`) in any channel, those where `mask`
    is not zero, and, if `saturated`, those of an integer type at the `white_level`.
    """
    array = np.asarray(image)
    axes = check_axes(array, axes)
    invalid = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
    if saturated and array.dtype.kind in "iu":
        invalid |= array >= white_level(array)
    if isinstance(image, np.ma.MaskedArray):
        invalid |= np.ma.getmaskarray(image)
    invalid = _anywhere(invalid, axes)
    if mask is not None:
        size = plane_shape(array, axes)
        invalid = invalid | (check_mask(mask, size) != 0)
    if invalid.all() and mask is not None:
        raise InputError("the mask covers the whole image; expected some valid pixels")
    if invalid.all():
        raise InputError(
            "the image has no valid pixels: all are masked, not finite, or saturated and ignored"
        )
    return invalid


def count_invalid(image: ArrayLike, axes: str) -> int:
    """Return how many pixels of an image are not finite in some channel."""
    array = np.asarray(image)
    if array.dtype.kind != "f":
        return 0
    return int(_anywhere(~np.isfinite(array), axes).sum())


def _anywhere(marked: NDArray[np.bool_], axes: str) -> NDArray[np.bool_]:
    """Return which pixels (h, w) are marked in any channel."""
    if marked.ndim == 2:
        return marked
    return np.asarray(marked.any(axis=axes.index("C")))


CAMERA_BITS = (10, 12, 14)
"""Of cameras whose pixels are stored with 16 bits or more."""


def white_level(array: NDArray[Any]) -> int:
    """Return the value at which an image of integers is saturated.

    The largest of its type; or of a camera's 10, 12 or 14 bits if the largest value of the image is
    just that, at several pixels, as no tail of a distribution ends.
    """
    largest = int(np.iinfo(array.dtype).max)
    peak = int(array.max())
    if array.dtype.itemsize > 1 and peak in [2**bits - 1 for bits in CAMERA_BITS]:
        # One alone may have come about by chance.
        near = int(np.count_nonzero((array < peak) & (array >= peak - max(1, peak // 256))))
        if int(np.count_nonzero(array == peak)) > max(2, near):
            return peak
    return largest


def result_array(shape: tuple[int, int], source: Planes) -> NDArray[np.float32]:
    """Return an array of any values for a result (H, W), in the axes of its source."""
    count = len(source.data)
    sizes = {"YX": shape, "YXC": (*shape, count), "CYX": (count, *shape)}
    return np.empty(sizes[source.axes], dtype=np.float32)


def to_intensities(values: NDArray[np.floating], source: Planes) -> NDArray[np.float32]:
    """Return scaled values in the intensity unit of their source."""
    return (values.astype(np.float64) * source.span + source.low).astype(np.float32)


def _automatic_gain(values: NDArray[Any]) -> float:
    """Return the brightness of the brightest pixels relative to white."""
    white = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0
    brightest = float(np.percentile(values, 99.5))
    if not 0 < brightest <= white:
        raise InputError(
            f"an automatic gain needs intensities between 0 and {white:g}; the image has its "
            f"brightest pixels at {brightest:g}: give the gain as a number"
        )
    return min(1.0, brightest / white)


def size_text(array: Any) -> str:
    """Return the shape of an array as text for people."""
    return " × ".join(map(str, array.shape)) or "a single number"


def check_axes(array: Any, axes: str | None) -> str:
    """Return the axes of one image, guessed from its shape if they are None.

    Only the shape is read; raises an `InputError` if these are no axes of one image.
    """
    shape = size_text(array)
    if array.ndim == 0 and np.dtype(array.dtype).kind in "USO":
        # Most likely the path of a file.
        raise InputError(
            "the image is no array of pixels; read a file first, such as by tifffile.imread"
        )
    if axes is None:
        if array.ndim == 2:
            axes = "YX"
        elif array.ndim == 3 and array.shape[-1] == 3:
            axes = "YXC"
        else:
            raise InputError(
                f"the image is {shape}; expected a grey image (h × w) or an RGB image (h × w × 3)"
            )
    if axes not in AXES:
        raise InputError(f"axes are {axes!r}; expected one of {list(AXES)}")
    if array.ndim != len(axes):
        raise InputError(f"the image is {shape}, but axes {axes!r} mean {len(axes)} dimensions")
    if 0 in array.shape:
        raise InputError(f"the image is empty ({shape}); expected at least one pixel")
    return axes


def plane_shape(array: Any, axes: str) -> tuple[int, int]:
    """Return (h, w) of an image."""
    return int(array.shape[axes.index("Y")]), int(array.shape[axes.index("X")])


def window_of(array: Any, axes: str, window: Box) -> NDArray[Any]:
    """Read a window of an image, in its own axes; no other pixels are read."""
    cut = [slice(None)] * len(axes)
    cut[axes.index("Y")], cut[axes.index("X")] = window.slices
    # What a masked array hides stays hidden.
    return np.asanyarray(array[tuple(cut)])


def check_mask(mask: ArrayLike, shape: tuple[int, int]) -> NDArray[Any]:
    """Return a mask as an array; an `InputError` if it is not (h, w)."""
    given = np.asarray(mask)
    if given.shape != shape:
        raise InputError(
            f"the mask is {size_text(given)}; expected {shape[0]} × {shape[1]}, the size of the "
            "image"
        )
    return given


def _check_values(array: NDArray[Any]) -> None:
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise InputError(
            f"the image has values of type {array.dtype}; expected integers or floating point"
        )
    if not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"the image has {count} values that are NaN or infinite; expected finite values only"
        )
    smallest, largest = float(array.min()), float(array.max())
    if array.min() == array.max():
        raise NoContrastError(smallest)
    _check_single_precision(smallest, largest)


FINEST = 256
"""Steps of single precision that an image's range must have at its largest value."""


def _check_single_precision(smallest: float, largest: float) -> None:
    """Raise an `InputError` if single precision could not distinguish the values."""
    most, least = float(np.finfo(np.float32).max) / 4, float(np.finfo(np.float32).tiny) * 1e6
    peak, span = max(abs(smallest), abs(largest)), largest - smallest
    if peak > most:
        raise InputError(
            f"the image has values up to {peak:.3g}; expected values below {most:.2g}, "
            "which single precision holds: divide them"
        )
    if span < least:
        raise InputError(
            f"the image's values differ by {span:.3g} at most; expected differences above "
            f"{least:.2g}, which single precision holds: multiply them"
        )
    if span < FINEST * float(np.spacing(np.float32(peak))):
        raise InputError(
            f"the image's values differ by {span:.3g} at most, around {peak:.6g}: single precision "
            "does not tell them apart; expected an image without such a background: subtract it"
        )


def _range(array: NDArray[Any], geometry: Geometry) -> tuple[float, float]:
    """Return the intensities (low, span) that are scaled to 0 and 1."""
    smallest, largest = float(array.min()), float(array.max())
    if geometry == "benchmark":
        if np.issubdtype(array.dtype, np.integer):
            return 0.0, float(np.iinfo(array.dtype).max)
        if smallest >= 0 and largest <= 1:
            return 0.0, 1.0
        return smallest, largest - smallest
    low = smallest - FOOTROOM * (largest - smallest)
    # What counts photons cannot go below none.
    if smallest >= 0:
        low = max(low, 0.0)
    return low, largest - low


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How to turn planes (..., h, w): flipped rows, flipped columns, then transposed.

    Networks, blocks of pixels and borders treat the eight orientations of an image slightly
    differently. What is computed in the canonical one is the same for all eight.
    """

    rows: bool = False
    columns: bool = False
    transposed: bool = False

    def apply(self, planes: Any) -> Any:
        """Return planes, an array or a tensor, in this orientation."""
        turned = _flip(planes, rows=self.rows, columns=self.columns)
        return turned.swapaxes(-2, -1) if self.transposed else turned

    def rotations(self) -> tuple[Orientation, ...]:
        """Return this orientation and those that are rotated by 180° and ±90° against it."""
        rows, columns, transposed = self.rows, self.columns, self.transposed
        return (
            self,
            Orientation(rows=not rows, columns=not columns, transposed=transposed),
            Orientation(rows=not rows, columns=columns, transposed=not transposed),
            Orientation(rows=rows, columns=not columns, transposed=not transposed),
        )

    def undo(self, planes: Any) -> Any:
        """Return planes that are in this orientation as they were."""
        back = planes.swapaxes(-2, -1) if self.transposed else planes
        return _flip(back, rows=self.rows, columns=self.columns)


def _flip(planes: Any, *, rows: bool, columns: bool) -> Any:
    axes = [axis for axis, wanted in ((-2, rows), (-1, columns)) if wanted]
    if not axes:
        return planes
    return np.flip(planes, tuple(axes)) if isinstance(planes, np.ndarray) else planes.flip(axes)


def canonical(planes: NDArray[np.floating]) -> Orientation:
    """Return the orientation in which planes (C, h, w) are brightest at the lower right.

    The first moments of the intensities about the middle decide: both are made positive, and that
    of the rows the larger one. An image whose moments are equal has no orientation of its own.
    """
    mean = np.asarray(planes, dtype=np.float64).mean(axis=0)
    mean = mean - mean.mean()
    profiles = mean.mean(axis=1), mean.mean(axis=0)
    moments = []
    for profile in profiles:
        half = len(profile) // 2
        # Differences of mirrored places: exactly the negative for the mirrored image.
        differences = profile[::-1][:half] - profile[:half]
        weights = np.arange(len(profile) - 1, 0, -2)[:half]
        moments.append(float(np.dot(differences, weights)) / len(profile))
    return Orientation(
        rows=moments[0] < 0, columns=moments[1] < 0, transposed=abs(moments[1]) > abs(moments[0])
    )
