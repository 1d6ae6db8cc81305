"""The place of an array of pixels in napari's world."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """The placement of an n-dimensional array of pixels, in the attributes of napari's layers.

    Data coordinates p, which count pixel centres, become rotate · shear · scale · p + translate in
    pint units of the world; the homogeneous affine (n + 1, n + 1) is applied last.
    """

    scale: NDArray[np.float64]
    translate: NDArray[np.float64]
    rotate: NDArray[np.float64]
    shear: NDArray[np.float64]
    affine: NDArray[np.float64]
    units: tuple[Any, ...]
    axis_labels: tuple[str, ...]

    @classmethod
    def of_layer(cls, layer: Layer) -> Self:
        """Return the placement of a layer, as copies."""
        return cls(
            scale=np.array(layer.scale, dtype=float),
            translate=np.array(layer.translate, dtype=float),
            rotate=np.array(layer.rotate, dtype=float),
            shear=np.array(layer.shear, dtype=float),
            affine=np.array(layer.affine, dtype=float),
            units=tuple(layer.units),
            axis_labels=tuple(layer.axis_labels),
        )

    @property
    def linear(self) -> NDArray[np.float64]:
        """(n, n): from a step in data coordinates to a step before affine."""
        # napari composes the matrices itself, so that its conventions stay its own.
        transform = Affine(scale=self.scale, rotate=self.rotate, shear=self.shear)
        return np.array(transform.linear_matrix, dtype=float)

    @property
    def world_linear(self) -> NDArray[np.float64]:
        """(n, n): from a step in data coordinates to a step in the world."""
        product: NDArray[np.float64] = self.affine[:-1, :-1] @ self.linear
        return product

    def to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map data coordinates, (m, n) or (n,), to the world."""
        physical = np.asarray(points, dtype=float) @ self.linear.T + self.translate
        world: NDArray[np.float64] = physical @ self.affine[:-1, :-1].T + self.affine[:-1, -1]
        return world

    def from_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of the world, (m, n) or (n,), to data coordinates."""
        moved = np.asarray(points, dtype=float) - self.affine[:-1, -1]
        physical = np.linalg.solve(self.affine[:-1, :-1], moved.T).T
        data = np.linalg.solve(self.linear, (physical - self.translate).T).T
        return np.asarray(data, dtype=np.float64)

    def resampled(self, origin: ArrayLike, step: ArrayLike) -> Self:
        """Return the placement of another grid on the same array.

        Its pixel 0 lies at `origin` (n,), its pixels are `step` (n,) apart, both in pixels of this
        one.
        """
        # The offset goes through rotation and shear; affine comes later, for both alike.
        return replace(
            self,
            scale=self.scale * np.asarray(step, dtype=float),
            translate=self.translate + self.linear @ np.asarray(origin, dtype=float),
        )

    def moved(self, shift: ArrayLike) -> Self:
        """Return the placement moved by a world vector (n,)."""
        step = np.linalg.solve(self.affine[:-1, :-1], np.asarray(shift, dtype=float))
        return replace(self, translate=self.translate + step)

    def edges(self, shape: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and greatest world coordinates (n,) of an array's outer edges."""
        sides = [(-0.5, size - 0.5) for size in shape]
        corners = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
        world = self.to_world(corners)
        return world.min(axis=0), world.max(axis=0)

    def attributes(self) -> dict[str, Any]:
        """Return the placement as attributes of a layer."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
