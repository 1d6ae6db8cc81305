"""The observation and its forward model.

    y = (x ⋆ k) ↓s

This module is the only owner of kernel orientation (⋆ is correlation), of the phase of the
LR grid, of padding and of borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def phase(scale: int, geometry: Literal["camera", "benchmark"]) -> float:
    """Return δ in HR pixels: LR pixel i lies at HR coordinate scale·i + δ.

    A camera's pixel covers scale HR pixels and lies at their middle. The published test
    data lie on the other side.
    """
    delta = (scale - 1) / 2
    return delta if geometry == "camera" else -delta


def kernel_center(size: int, scale: int, geometry: Literal["camera", "benchmark"]) -> float:
    """Return c, the row and column of a kernel's centre: δ = c − K//2."""
    return size // 2 + phase(scale, geometry)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was measured, and how it came about.

    Attributes
    ----------
    data : Tensor, (C, h, w)
        The LR image, its intensities scaled to about [0, 1].
    scale : int
        s, HR pixels an LR pixel.
    kernel_size : int
        K, odd, in HR pixels.
    geometry : {"camera", "benchmark"}
        Where the LR pixels lie on the HR grid.
    border : {"extend", "circular"}
        "extend" reconstructs on a canvas larger than the result by the kernel's reach,
        so that nothing is assumed about what lies outside; "circular" wraps around.
    """

    data: Tensor
    scale: int
    kernel_size: int
    geometry: Literal["camera", "benchmark"] = "camera"
    border: Literal["extend", "circular"] = "extend"

    @property
    def offset(self) -> float:
        """δ in HR pixels."""
        return phase(self.scale, self.geometry)

    @property
    def center(self) -> float:
        """Where the kernel is centred: row and column in its array."""
        return kernel_center(self.kernel_size, self.scale, self.geometry)

    @property
    def margin(self) -> int:
        """HR pixels by which the canvas exceeds the result on each side."""
        return self.kernel_size // 2 if self.border == "extend" else 0

    @property
    def result_shape(self) -> tuple[int, int, int]:
        """(C, s·h, s·w)."""
        channels, height, width = self.data.shape
        return channels, self.scale * height, self.scale * width

    @property
    def canvas_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the image that is reconstructed."""
        channels, height, width = self.result_shape
        return channels, height + 2 * self.margin, width + 2 * self.margin

    def crop(self, canvas: Tensor) -> Tensor:
        """Return the result's part of a canvas (..., H, W)."""
        m = self.margin
        return canvas[..., m : canvas.shape[-2] - m, m : canvas.shape[-1] - m]

    def predict(self, canvas: Tensor, kernels: Tensor) -> Tensor:
        """Return what would be measured of a canvas, for each of some kernels.

        Parameters
        ----------
        canvas : Tensor, (C, H, W)
        kernels : Tensor, (L, K, K)

        Returns
        -------
        Tensor, (L, C, h, w)
        """
        planes = canvas[:, None]
        if self.border == "circular":
            reach = self.kernel_size // 2
            planes = F.pad(planes, (reach, reach, reach, reach), mode="circular")
        # The stride computes only the pixels that are kept.
        return F.conv2d(planes, kernels[:, None], stride=self.scale).transpose(0, 1)

    def adjoint(self, residual: Tensor, kernel: Tensor) -> Tensor:
        """Apply the transpose of `predict` for one kernel.

        Parameters
        ----------
        residual : Tensor, (C, h, w)
        kernel : Tensor, (K, K)

        Returns
        -------
        Tensor, (C, H, W)
        """
        _, height, width = self.canvas_shape
        reach = self.kernel_size // 2
        size = (height, width)
        if self.border == "circular":
            size = (height + 2 * reach, width + 2 * reach)
        spread = F.conv_transpose2d(residual[:, None], kernel[None, None], stride=self.scale)
        # The transposed convolution ends at the last sample; the canvas may go further.
        missing = (size[0] - spread.shape[-2], size[1] - spread.shape[-1])
        planes = F.pad(spread, (0, missing[1], 0, missing[0]))[:, 0]
        if self.border == "extend":
            return planes
        return _wrap(_wrap(planes, reach, -1), reach, -2)


def _wrap(planes: Tensor, reach: int, dim: int) -> Tensor:
    """Add what lies beyond both ends of an axis to its other ends: circular padding's transpose."""
    inner = planes.shape[dim] - 2 * reach
    before = planes.narrow(dim, 0, reach)
    after = planes.narrow(dim, reach + inner, reach)
    result = planes.narrow(dim, reach, inner).clone()
    result.narrow(dim, inner - reach, reach).add_(before)
    result.narrow(dim, 0, reach).add_(after)
    return result
