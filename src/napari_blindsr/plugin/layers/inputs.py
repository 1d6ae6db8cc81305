"""A layer's place and pixels as plain arrays, which stay valid when it changes or is removed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

from napari_blindsr.images.axes import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Layer
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from napari_blindsr.images.tiling import Box
    from napari_blindsr.stacks.options import StackOptions


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
        arrays = {
            name: np.array(getattr(layer, name), dtype=float)
            for name in ("scale", "translate", "rotate", "shear", "affine")
        }
        return cls(**arrays, units=tuple(layer.units), axis_labels=tuple(layer.axis_labels))

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

    def is_same(self, other: Frame) -> bool:
        """Tell whether two placements are equal."""
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in (
                (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
            )
        )

    def edges(self, shape: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and greatest world coordinates (n,) of an array's outer edges."""
        sides = [(-0.5, size - 0.5) for size in shape]
        corners = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
        world = self.to_world(corners)
        return world.min(axis=0), world.max(axis=0)

    def attributes(self) -> dict[str, Any]:
        """Return the placement as attributes of a layer."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The (row, column) axes of a layer that are restored, and where the other axes are cut.

    `index` has an entry for each spatial axis, None along `axes`; `shape` is (h, w).
    """

    axes: tuple[int, int]
    index: tuple[int | None, ...]
    shape: tuple[int, int]

    @property
    def others(self) -> tuple[int, ...]:
        """The axes that are cut."""
        return tuple(axis for axis, cut in enumerate(self.index) if cut is not None)

    def thin(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape (h, w) of a plane among all axes of the layer, one pixel thick."""
        sides = dict(zip(self.axes, shape, strict=True))
        return tuple(sides.get(axis, 1) for axis in range(len(self.index)))

    def expanded(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels with all axes of the layer, so that they show at this slice only."""
        return np.expand_dims(pixels, self.others)

    def grid(self, frame: Frame, *, origin: ArrayLike, step: ArrayLike) -> Frame:
        """Return the placement of another grid on this plane of a layer with a frame.

        Its pixel 0 lies at `origin`, its pixels are `step` apart: both (row, column), or the same
        for both, in pixels of the layer.
        """
        origins = [0.0 if at is None else float(at) for at in self.index]
        steps = [1.0] * len(self.index)
        starts, sides = np.broadcast_to(origin, 2), np.broadcast_to(step, 2)
        for axis, start, side in zip(self.axes, starts, sides, strict=True):
            origins[axis], steps[axis] = float(start), float(side)
        return frame.resampled(origins, steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """The looks of a layer that its result takes over."""

    colormap: Any
    gamma: float
    blending: str
    opacity: float
    interpolation2d: str
    contrast_limits: tuple[float, float]

    @classmethod
    def of_layer(cls, layer: Image) -> Self:
        """Return the looks of a layer."""
        low, high = layer.contrast_limits
        return cls(
            colormap=layer.colormap,
            gamma=float(layer.gamma),
            blending=str(layer.blending),
            opacity=float(layer.opacity),
            interpolation2d=str(layer.interpolation2d),
            contrast_limits=(float(low), float(high)),
        )

    def attributes(self, *, rgb: bool) -> dict[str, Any]:
        """Return the looks as attributes of a layer."""
        looks = {field.name: getattr(self, field.name) for field in fields(self)}
        grey = {"colormap", "contrast_limits"}
        return {name: value for name, value in looks.items() if not (rgb and name in grey)}


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskInput:
    """The missing pixels (h, w) of an image, from a layer of kind "labels" or "shapes"."""

    name: str
    kind: str
    covered: NDArray[np.bool_]

    def provenance(self) -> dict[str, Any]:
        """Return the source of the mask, as plain JSON types."""
        return {
            "layer": self.name,
            "kind": self.kind,
            "covered": int(self.covered.sum()),
            "sha256": hashlib.sha256(self.covered.astype(np.uint8).tobytes()).hexdigest(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelInput:
    """A known kernel.

    The correlation kernel (K, K), or one for each region (R, C, K, K), has sum 1 and pixels of the
    result; `estimated` is true for a kernel that a run estimated.
    """

    name: str
    kernel: NDArray[np.float32]
    estimated: bool = False

    def provenance(self) -> dict[str, Any]:
        """Return the kernel and its source, as plain JSON types."""
        return {"layer": self.name, "correlation_kernel": self.kernel.astype(float).tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerInput:
    """A plane of an image layer, or a stack of them, and what belongs to it.

    Attributes
    ----------
    data : array
        In the layer's own type; a lazy one reads only what is sliced.
    axes : str
        Those of the data: of one plane "YX" or "YXC", with three colours; of a stack letters with S
        for colours.
    plane : Plane
        The plane that is restored, or the first one.
    frame : Frame
        Of the whole layer, its cut axes included.
    region : Box or None
        The part of each plane that is restored.
    options : StackOptions or None
        Of a stack.
    notes : tuple of str
        What was left out in reading it.
    mask, kernel : MaskInput, KernelInput or None
        Of every plane.
    """

    name: str
    data: Any
    axes: str
    plane: Plane
    frame: Frame
    appearance: Appearance
    region: Box | None = None
    options: StackOptions | None = None
    notes: tuple[str, ...] = ()
    mask: MaskInput | None = None
    kernel: KernelInput | None = None

    @property
    def kind(self) -> np.dtype[Any]:
        """Type of the layer's values."""
        kind: np.dtype[Any] = np.dtype(self.data.dtype)
        return kind

    @property
    def is_rgb(self) -> bool:
        """Whether it has three colours a pixel."""
        return self.axes == "YXC" if self.options is None else SAMPLES in self.axes

    @property
    def restored_shape(self) -> tuple[int, int]:
        """(h, w) of the part of a plane that is restored."""
        return self.plane.shape if self.region is None else self.region.shape

    def provenance(self) -> dict[str, Any]:
        """Return the source of the pixels, as plain JSON types."""
        record = {
            "layer": self.name,
            "shape": list(self.data.shape),
            "dtype": str(self.kind),
            "notes": list(self.notes),
            "mask": None if self.mask is None else self.mask.provenance(),
            "known_kernel": None if self.kernel is None else self.kernel.provenance(),
            "axes": self.axes,
        }
        if self.options is None:
            # Of a lazy layer only the region is read.
            held = np.ascontiguousarray(self.data) if isinstance(self.data, np.ndarray) else None
            record["index"] = list(self.plane.index)
            record["sha256"] = None if held is None else hashlib.sha256(held.tobytes()).hexdigest()
        return record
