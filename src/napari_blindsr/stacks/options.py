"""Which planes of a stack are restored, and how they belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import SettingsError
from napari_blindsr.types import OUTPUT_TYPES, SHARINGS, OutputType, Sharing

if TYPE_CHECKING:
    from napari_blindsr.images.tiling import Box


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Which planes of a stack are restored, and how they belong together.

    Attributes
    ----------
    kernels : {"plane", "channel", "shared"}
        Whether each plane has a kernel of its own, or those of one channel share one, along T, Z
        and all other axes, or all planes do. A shared kernel is estimated on the planes that tell
        the most of it: that is faster, and steadier from one plane to the next.
    planes : str or None
        For instance "T=0:10,C=1": an index or a range (its end excluded) along some axes, those
        that are not named in full. None is everything.
    region : Box or None
        What of each plane is restored, in pixels of the input.
    dtype : {"float32", "source"}
        Type of the result: float32, not clipped; or that of the input, rounded, and clipped to
        what it can hold.
    warm_start : bool
        Begin the optimisation of a plane with what the one before it has ended with, along T, or Z
        where there is no T, within the same channel; that takes fewer steps. For a method
        that reads the blur, with a kernel for each plane: steady the readings of such planes by
        each other.
    """

    kernels: Sharing = "channel"
    planes: str | None = None
    region: Box | None = None
    dtype: OutputType = "float32"
    warm_start: bool = False

    def __post_init__(self) -> None:
        if self.kernels not in SHARINGS:
            raise SettingsError(f"kernels is {self.kernels!r}; expected one of {list(SHARINGS)}")
        if self.dtype not in OUTPUT_TYPES:
            raise SettingsError(f"dtype is {self.dtype!r}; expected one of {list(OUTPUT_TYPES)}")

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON types."""
        return {
            "kernels": self.kernels,
            "planes": self.planes,
            "region": None if self.region is None else self.region.to_json(),
            "dtype": self.dtype,
            "warm_start": self.warm_start,
        }
