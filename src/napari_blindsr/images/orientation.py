"""One orientation for images that are turned or mirrored versions of each other.

Networks, blocks of pixels and borders treat the eight orientations of an image slightly
differently. What is computed in the canonical one is the same for all eight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How to turn planes (..., h, w): flipped rows, flipped columns, then transposed."""

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
