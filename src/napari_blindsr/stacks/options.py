"""Which planes of a stack are restored, and which of them share a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import require_choices
from napari_blindsr.types import OUTPUT_TYPES, SHARINGS, OutputType, Sharing

if TYPE_CHECKING:
    from napari_blindsr.images.tiling import Box


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Which planes of a stack are restored, and which of them share a kernel.

    Attributes
    ----------
    kernels : {"plane", "channel", "shared"}
        Which planes share a kernel: none; those of one channel, along T, Z and all other axes; or
        all. A shared kernel is estimated on the planes that determine it best. That is faster, and
        varies less from one plane to the next.
    planes : str or None
        For instance "T=0:10,C=1": an index or a range (its end excluded) along some axes; axes that
        are not named are taken in full. None is everything.
    region : Box or None
        Region of each plane that is restored, in pixels of the input.
    dtype : {"float32", "source"}
        Type of the result: float32, not clipped; or that of the input, rounded and clipped to its
        range.
    warm_start : bool
        Start the optimisation of a plane with the result of the previous one, along T, or along Z
        if there is no T, within the same channel; that takes fewer steps. For a method that
        estimates the blur, with a kernel for each plane: filter the estimates over these planes.

    Examples
    --------
    >>> StackOptions(planes="T=0:10,C=1", kernels="channel").kernels
    'channel'
    """

    kernels: Sharing = "channel"
    planes: str | None = None
    region: Box | None = None
    dtype: OutputType = "float32"
    warm_start: bool = False

    def __post_init__(self) -> None:
        require_choices(self, kernels=SHARINGS, dtype=OUTPUT_TYPES)

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON types."""
        region = None if self.region is None else self.region.to_json()
        return {**vars(self), "region": region}
