"""Pixels that do not show the object: hot and dead ones, padding, saturation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_dilation, convolve, label
from skimage.measure import regionprops

from napari_blindsr.physics.noise import estimate_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=float) / 4

NOISE = 8.0
"""Contrast of a defective pixel, at least, in standard deviations of the noise."""

STRONGEST = 3.0
"""The same in units of the detail that 0.5 % of the pixels exceed."""

ALONE = 0.12
"""Largest mean of its four neighbours, in units of its height. A point that optics blur to a
standard deviation of 0.4 pixels gives its neighbours 0.14 of its height, wider blur more."""

ROUGH = 4.0
"""The same in units of the range of its neighbours."""

MOST = 0.004
"""Largest fraction of defective pixels; more of them are detail, or noise of another kind."""

JUMP = 3.0
"""Smallest ratio of the step at the edge of padding to the changes beside it."""

NEXT = 10
"""Values next to that of padding from which the density of values is taken."""

SOLID = 0.95
"""Fraction of its convex hull that padding fills: its edges are straight, those of objects are
not."""

LEAST_SATURATED, MOST_SATURATED = 3, 0.05
"""Fewest saturated pixels, and their largest fraction: white paper or sky is white."""


@dataclass(frozen=True, kw_only=True)
class Defects:
    """Pixels that are treated as missing, (h, w), by kind.

    Attributes
    ----------
    single : ndarray, bool
        Isolated hot and dead pixels.
    padding : ndarray, bool
        Areas of exactly one value that begin at the border and end abruptly.
    saturated : ndarray, bool
        Pixels at the largest value of a range that is cut off.
    """

    single: NDArray[np.bool_]
    padding: NDArray[np.bool_]
    saturated: NDArray[np.bool_]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Defects of any kind."""
        return self.single | self.padding | self.saturated

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of defect that the image has."""
        kinds = (
            (self.single, "hot or dead pixels were ignored"),
            (
                self.padding,
                "pixels of padding (one constant value from the border on) were ignored",
            ),
            (self.saturated, "saturated pixels were ignored"),
        )
        return tuple(
            f"{int(mask.sum())} {text} and filled in" for mask, text in kinds if mask.any()
        )


def find_defects(
    planes: NDArray[np.floating], noise: float, *, measured: NDArray[np.bool_] | None = None
) -> Defects:
    """Return the pixels of planes (C, h, w) that do not show the object, of those `measured`.

    A pixel is hot or dead if it exceeds the noise, the image's detail and the range of its eight
    neighbours, while its four nearest neighbours show no trace of it: no blurred object looks so.
    """
    shape = planes.shape[1:]
    nothing = np.zeros(shape, dtype=bool)
    if min(shape) < 5:
        return Defects(single=nothing, padding=nothing, saturated=nothing)
    usable = np.ones(shape, dtype=bool) if measured is None else measured
    padding = _padding(planes) & usable
    inside = usable & ~padding
    single, saturated = nothing.copy(), nothing.copy()
    for plane in np.asarray(planes, dtype=np.float64):
        single |= _single(plane, noise, inside)
        saturated |= _saturated(plane, inside & ~single)
    if single.sum() > max(1, MOST * single.size):
        single = nothing
    return Defects(single=single & usable, padding=padding, saturated=saturated & ~single)


def defects_of(
    image: NDArray[Any], axes: str, *, covered: NDArray[np.bool_] | None, saturation: bool
) -> Defects | None:
    """Return the defects of an image in its own axes; None if it cannot be restored anyway.

    `covered` (h, w) are missing pixels; `saturation` includes saturated ones.
    """
    planes = np.asarray(image[None] if axes == "YX" else np.moveaxis(image, axes.index("C"), 0))
    if planes.dtype.kind not in "iuf" or planes.size == 0:
        return None
    measured = None if covered is None or not covered.any() else ~covered
    values = planes.astype(np.float64)
    if measured is not None:
        if not measured.any():
            return None
        values = np.where(measured, values, values[:, measured].mean(axis=1)[:, None, None])
    # The checks of the image refuse such values with reasons.
    held = np.isfinite(values).all() and np.abs(values).max() < np.finfo(np.float32).max / 4
    if not held or np.ptp(values) == 0:
        return None
    # Differences count, and single precision holds them better from the smallest value on.
    values = (values - values.min()).astype(np.float32)
    noise = estimate_noise(values, measured)
    found = find_defects(values, noise, measured=measured)
    if saturation or not found.saturated.any():
        return found
    return replace(found, saturated=np.zeros_like(found.saturated))


def without_defects(
    image: NDArray[Any], axes: str, covered: NDArray[np.bool_], *, saturation: bool
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return missing pixels including defects, and notes on the defects; as `defects_of`.

    Defects are ignored if no valid pixel would be left.
    """
    defects = defects_of(image, axes, covered=covered, saturation=saturation)
    if defects is None or (covered | defects.missing).all():
        return covered, ()
    return covered | defects.missing, defects.notes


def _single(
    plane: NDArray[np.float64], noise: float, usable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return hot and dead pixels of a plane."""
    padded = np.pad(plane, 1, mode="reflect")
    height, width = plane.shape
    around = np.sort(
        np.stack(
            [
                padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
                for dy, dx in np.argwhere(NEIGHBOURS) - 1
            ]
        ),
        axis=0,
    )
    middle = 0.5 * (around[3] + around[4])
    excess = plane - middle
    height_ = np.abs(excess)
    if not usable.any():
        return np.zeros(plane.shape, dtype=bool)
    typical = float(np.quantile(height_[usable], 0.995))
    # A second hot pixel among the neighbours does not count.
    spread = around[6] - around[1]
    nearest = convolve(plane, CROSS, mode="mirror") - middle
    alone = np.sign(excess) * nearest < ALONE * height_
    strong = height_ > np.maximum(NOISE * noise, STRONGEST * typical)
    result: NDArray[np.bool_] = strong & alone & (height_ > ROUGH * (spread + 2 * noise)) & usable
    return result


def _padding(planes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return areas of one value in all channels that touch the border and end abruptly."""
    shape = planes.shape[1:]
    found = np.zeros(shape, dtype=bool)
    edge = np.concatenate([planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], axis=1)
    values, counts = np.unique(edge, axis=1, return_counts=True)
    slopes = [np.abs(np.diff(planes, axis=axis)).max(axis=0) for axis in (1, 2)]
    # The commonest values of the border, and the extremes: a single row has few pixels there.
    likely = {*np.argsort(counts)[::-1][:3].tolist(), 0, len(counts) - 1}
    for value in values[:, sorted(likely)].T:
        equal = (planes == value[:, None, None]).all(axis=0)
        areas, count = label(equal, structure=np.ones((3, 3)))
        sizes = np.bincount(areas.ravel(), minlength=count + 1)
        border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
        for number in np.unique(border[border > 0]):
            # A single row may be padding, less is chance.
            if not min(shape) <= sizes[number] < found.size:
                continue
            area = areas == number
            straight = regionprops(area.view(np.uint8))[0].solidity >= SOLID
            if straight and (_ends_abruptly(planes, area, slopes) or _stands_apart(planes, area)):
                found |= area
    return found


def _ends_abruptly(
    planes: NDArray[np.floating], area: NDArray[np.bool_], slopes: list[NDArray[np.floating]]
) -> bool:
    """Return whether an image jumps at the edge of an area, compared with the pixels next to it."""
    first = binary_dilation(area) & ~area
    second = binary_dilation(area | first) & ~area & ~first
    third = binary_dilation(area | first | second, iterations=2) & ~area & ~first & ~second
    if not first.any() or not third.any():
        return False
    value = planes[:, area][:, :1]
    jump = np.median(np.abs(planes[:, first] - value).max(axis=0))
    inner = [
        slope[(first | second | third)[: slope.shape[0], : slope.shape[1]] & _within(area, slope)]
        for slope in slopes
    ]
    beside = np.concatenate(inner)
    return bool(beside.size and jump > JUMP * np.median(beside) and jump > 0)


def _stands_apart(planes: NDArray[np.floating], area: NDArray[np.bool_]) -> bool:
    """Return whether the value of an area is farther from all others than the next ten differ."""
    for plane in planes:
        value = plane[area][0]
        others = np.sort(plane[~area], axis=None)
        if len(others) < 2 * NEXT:
            return False
        low, high = others[:NEXT], others[-NEXT:]
        below = low[0] - value > low[-1] - low[0]
        above = value - high[-1] > high[-1] - high[0]
        if not below and not above:
            return False
    return True


def _within(area: NDArray[np.bool_], slope: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where a difference between neighbours touches no pixel of an area."""
    rows, columns = slope.shape
    after = area[area.shape[0] - rows :, area.shape[1] - columns :]
    result: NDArray[np.bool_] = ~(area[:rows, :columns] | after)
    return result


def _saturated(plane: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return pixels at the largest value if more pile up there than just below it."""
    nothing = np.zeros(plane.shape, dtype=bool)
    values = plane[usable]
    if values.size == 0:
        return nothing
    top, low = float(values.max()), float(values.min())
    at_top = (plane >= top - 1e-9 * max(abs(top), top - low)) & usable
    count = int(at_top.sum())
    below = values[values < top - 1e-9 * max(abs(top), top - low)]
    if count < LEAST_SATURATED or count > MOST_SATURATED * plane.size or not below.size:
        return nothing
    step = max((top - low) / 256, top - float(below.max()))
    near = int((below >= top - 1.5 * step).sum())
    # A plateau has pixels that are surrounded by others.
    inner = at_top & (convolve(at_top.astype(float), CROSS, mode="nearest") >= 0.5)
    return at_top if count > max(2 * near, LEAST_SATURATED) and inner.any() else nothing
