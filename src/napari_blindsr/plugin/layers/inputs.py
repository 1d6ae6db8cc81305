"""What a run is given, as plain arrays: it stays valid when layers change or go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_blindsr.plugin.layers.frame import Frame

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray
    from typing_extensions import Self

    from napari_blindsr.images.axes import Layout
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.stacks.options import StackOptions


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The two axes of a layer that are restored, and where the others are cut.

    Attributes
    ----------
    axes : tuple of int
        (row, column) among the layer's spatial axes.
    index : tuple of int or None
        One entry for each spatial axis: the position of the cut, None along `axes`.
    shape : tuple of int
        (h, w) of the plane.
    """

    axes: tuple[int, int]
    index: tuple[int | None, ...]
    shape: tuple[int, int]

    @property
    def others(self) -> tuple[int, ...]:
        """The axes that are cut."""
        return tuple(axis for axis, cut in enumerate(self.index) if cut is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """How a layer is shown; what a result takes over from its source."""

    colormap: Any
    gamma: float
    blending: str
    opacity: float
    interpolation2d: str
    contrast_limits: tuple[float, float]

    @classmethod
    def of_layer(cls, layer: Image) -> Self:
        """Return how a layer is shown."""
        low, high = layer.contrast_limits
        return cls(
            colormap=layer.colormap,
            gamma=float(layer.gamma),
            blending=str(layer.blending),
            opacity=float(layer.opacity),
            interpolation2d=str(layer.interpolation2d),
            contrast_limits=(float(low), float(high)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskInput:
    """What of an image is covered.

    Attributes
    ----------
    name : str
        Of the layer.
    kind : {"labels", "shapes"}
    covered : ndarray, bool, (h, w)
    """

    name: str
    kind: str
    covered: NDArray[np.bool_]

    def provenance(self) -> dict[str, Any]:
        """Return where the mask came from, as plain JSON types."""
        return {
            "layer": self.name,
            "kind": self.kind,
            "covered": int(self.covered.sum()),
            "sha256": hashlib.sha256(self.covered.astype(np.uint8).tobytes()).hexdigest(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelInput:
    """A known kernel.

    Attributes
    ----------
    name : str
        Of the layer.
    kernel : ndarray, float32, (K, K) or (R, C, K, K)
        As a correlation kernel of sum 1, in pixels of the result; or one for each region.
    found : bool
        Whether it was found by a run, not measured.
    """

    name: str
    kernel: NDArray[np.float32]
    found: bool = False

    def provenance(self) -> dict[str, Any]:
        """Return the kernel and where it came from, as plain JSON types."""
        return {"layer": self.name, "correlation_kernel": self.kernel.astype(float).tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerInput:
    """What is read from an image layer, and what belongs to it.

    Attributes
    ----------
    name : str
    data : array
        Grey (h, w), or RGB (h, w, 3), in the layer's own type: a copy; or, where a region is
        restored of a lazy layer, what reads no more than is sliced.
    axes : str
        "YX" or "YXC".
    plane : Plane
    frame : Frame
        Of the whole layer, its cut axes included.
    appearance : Appearance
    notes : tuple of str
        What was left out in reading it.
    mask : MaskInput or None
        What of it is covered.
    kernel : KernelInput or None
        Its blur, if that is known.
    region : Box or None
        What of it is restored.
    """

    name: str
    data: Any
    axes: str
    plane: Plane
    frame: Frame
    appearance: Appearance
    notes: tuple[str, ...] = ()
    mask: MaskInput | None = None
    kernel: KernelInput | None = None
    region: Box | None = None

    @property
    def kind(self) -> np.dtype[Any]:
        """Type of the layer's values."""
        kind: np.dtype[Any] = np.dtype(self.data.dtype)
        return kind

    @property
    def is_rgb(self) -> bool:
        """Whether it has three colours a pixel."""
        return self.axes == "YXC"

    def provenance(self) -> dict[str, Any]:
        """Return where the pixels came from, as plain JSON types."""
        held = isinstance(self.data, np.ndarray)
        return {
            "layer": self.name,
            "shape": list(self.data.shape),
            "dtype": str(self.kind),
            "axes": self.axes,
            "index": list(self.plane.index),
            # Of what is read lazily no more is read than what is restored.
            "sha256": hashlib.sha256(np.ascontiguousarray(self.data).tobytes()).hexdigest()
            if held
            else None,
            **_belongings(self),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class StackInput:
    """What is read from an image layer of which many planes are restored.

    Attributes
    ----------
    name : str
    array : array
        The layer's, of which no more is read than what is sliced.
    layout : Layout
        What its axes are.
    options : StackOptions
        Which planes, and what of them.
    plane : Plane
        The first plane that is restored.
    frame : Frame
        Of the whole layer.
    appearance : Appearance
    notes : tuple of str
        What was left out in reading it, and what the user should know.
    mask : MaskInput or None
        What of every plane is covered.
    kernel : KernelInput or None
        The blur of every plane, if that is known.
    """

    name: str
    array: Any
    layout: Layout
    options: StackOptions
    plane: Plane
    frame: Frame
    appearance: Appearance
    notes: tuple[str, ...] = ()
    mask: MaskInput | None = None
    kernel: KernelInput | None = None

    @property
    def region(self) -> Box | None:
        """What of each plane is restored."""
        return self.options.region

    @property
    def kind(self) -> np.dtype[Any]:
        """Type of the layer's values."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind

    @property
    def is_rgb(self) -> bool:
        """Whether it has three colours a pixel."""
        return self.layout.plane_axes == "YXC"

    def provenance(self) -> dict[str, Any]:
        """Return where the pixels came from, as plain JSON types."""
        return {
            "layer": self.name,
            "shape": list(self.layout.shape),
            "dtype": str(self.kind),
            "axes": self.layout.axes,
            **_belongings(self),
        }


Source: TypeAlias = LayerInput | StackInput


def _belongings(source: Source) -> dict[str, Any]:
    return {
        "notes": list(source.notes),
        "mask": None if source.mask is None else source.mask.provenance(),
        "known_kernel": None if source.kernel is None else source.kernel.provenance(),
    }
