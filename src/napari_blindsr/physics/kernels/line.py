"""Linear motion blur."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from napari_blindsr.physics.kernels.base import KernelFamily, check_range, kernel_size, shown

if TYPE_CHECKING:
    from torch import Generator, Tensor

LONGEST = 3.0
"""Half the length of the longest line that is estimated, in LR pixels."""


@dataclass(frozen=True, kw_only=True)
class Line(KernelFamily):
    """Motion along a straight line at constant speed, in any direction.

    Attributes
    ----------
    half_length : tuple of float, or None
        Range of L; the bar is 2·L + 1 px of the HR grid long. None takes the published
        K//4, K the published side of the kernel, and 1 to 4 at scale 1.
    """

    name: ClassVar[str] = "line"
    label: ClassVar[str] = "Linear motion"

    half_length: tuple[float, float] | None = field(
        default=None,
        metadata=shown(
            "Half length (px)",
            "Range of half the length of the motion, in pixels of the result: from its middle to\n"
            "either end.",
        ),
    )

    def __post_init__(self) -> None:
        if self.half_length is not None:
            check_range("half_length", self.half_length, least=0)

    def half_length_range(self, scale: int) -> tuple[float, float]:
        """Return the range of the half lengths."""
        if self.half_length is not None:
            return self.half_length
        if scale == 1:
            return 1.0, 4.0
        length = float(kernel_size(scale) // 4)
        return length, length

    def searched(self, scale: int) -> Line:
        """Return lines of any length that can be estimated, unless a range is given."""
        if self.half_length is not None:
            return self
        longest = max(self.half_length_range(scale)[1], LONGEST * scale)
        return Line(half_length=(0.5, longest))

    def reach(self, scale: int) -> float:
        """Return the reach of the widest kernels from their centre, in HR pixels."""
        return self.half_length_range(scale)[1] + 1

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels; see `KernelFamily.sample`."""
        import torch  # noqa: PLC0415

        low, high = self.half_length_range(scale)
        draw = torch.rand(count, 2, generator=generator, device=generator.device)
        lengths = low + (high - low) * draw[:, 0]
        return render_line(lengths, math.pi * draw[:, 1], size=size, center=(center, center))


def render_line(
    half_lengths: Tensor, angles: Tensor, *, size: int, center: tuple[float, float]
) -> Tensor:
    """Draw bars of one pixel's width, turned about their middle.

    For a whole L this equals bilinear interpolation of a row of 2·L + 1 pixels.

    Parameters
    ----------
    half_lengths : Tensor, (n,)
        L ≥ 0; the bar is 2·L + 1 px long.
    angles : Tensor, (n,)
        In radians, counter-clockwise as an image is seen, from the column axis.
    size : int
    center : tuple of float
        Row and column of the bar's middle.

    Returns
    -------
    Tensor, (n, size, size)
        Each of sum 1.
    """
    import torch  # noqa: PLC0415

    axis = torch.arange(size, device=angles.device, dtype=angles.dtype)
    y, x = (axis - center[0])[None, :, None], (axis - center[1])[None, None, :]
    cos, sin = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    # Rows count downwards, so counter-clockwise turns towards smaller rows.
    along, across = cos * x - sin * y, sin * x + cos * y
    bar = (half_lengths[:, None, None] + 1 - along.abs()).clamp(0, 1)
    kernels = bar * (1 - across.abs()).clamp_min(0)
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)
