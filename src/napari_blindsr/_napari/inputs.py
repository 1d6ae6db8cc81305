"""What a run is given, as plain arrays: it stays valid when layers change or go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr._napari.geometry import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    kernel : ndarray, float32, (K, K)
        As a correlation kernel of sum 1, in pixels of the result.
    """

    name: str
    kernel: NDArray[np.float32]

    def provenance(self) -> dict[str, Any]:
        """Return the kernel and where it came from, as plain JSON types."""
        return {"layer": self.name, "correlation_kernel": self.kernel.astype(float).tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerInput:
    """What is read from an image layer, and what belongs to it.

    Attributes
    ----------
    name : str
    data : ndarray
        A copy: grey (h, w), or RGB (h, w, 3), in the layer's own type.
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
    """

    name: str
    data: NDArray[Any]
    axes: str
    plane: Plane
    frame: Frame
    appearance: Appearance
    notes: tuple[str, ...] = ()
    mask: MaskInput | None = None
    kernel: KernelInput | None = None

    def provenance(self) -> dict[str, Any]:
        """Return where the pixels came from, as plain JSON types."""
        return {
            "layer": self.name,
            "shape": list(self.data.shape),
            "dtype": str(self.data.dtype),
            "axes": self.axes,
            "index": list(self.plane.index),
            "sha256": hashlib.sha256(np.ascontiguousarray(self.data).tobytes()).hexdigest(),
            "notes": list(self.notes),
            "mask": None if self.mask is None else self.mask.provenance(),
            "known_kernel": None if self.kernel is None else self.kernel.provenance(),
        }
