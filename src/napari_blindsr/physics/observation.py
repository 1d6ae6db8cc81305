"""The observation and its forward model.

    y = m ⊙ g · ((x ⋆ k) ↓s) + n

Only this module knows the orientation of kernels (⋆ is correlation), the subpixel offset of the
LR grid, padding and borders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
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
    """An LR image and its forward model.

    Attributes
    ----------
    data : Tensor, (C, h, w)
        The LR image, its intensities scaled to about [0, gain]; 0 where pixels are missing.
    scale : int
        s, HR pixels an LR pixel.
    kernel_size : int
        K, odd, in HR pixels.
    geometry : {"camera", "benchmark"}
        Where the LR pixels lie on the HR grid.
    border : {"extend", "circular"}
        "extend" reconstructs on a canvas larger than the result by the kernel's reach,
        so that nothing is assumed about what lies outside; "circular" wraps around.
    measured : Tensor, bool, (h, w), or None
        m: the valid pixels; None if all are valid.
    guess : Tensor, (C, h, w), or None
        The data with missing pixels filled in smoothly.
    gain : float
        g: brightness of the data relative to the image; below 1 for a dark input.
    noise : float
        Standard deviation of the noise in `data`.
    """

    data: Tensor
    scale: int
    kernel_size: int
    geometry: Literal["camera", "benchmark"] = "camera"
    border: Literal["extend", "circular"] = "extend"
    measured: Tensor | None = None
    guess: Tensor | None = None
    gain: float = 1.0
    noise: float = 0.0

    @property
    def offset(self) -> float:
        """δ in HR pixels."""
        return phase(self.scale, self.geometry)

    @property
    def center(self) -> float:
        """Row and column of the kernel's centre in its array."""
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
        """Return the observation of a canvas, for each of some kernels; missing pixels are 0.

        Parameters
        ----------
        canvas : Tensor, (C, H, W)
        kernels : Tensor, (L, K, K)

        Returns
        -------
        Tensor, (L, C, h, w)
        """
        blurred = self.blur(canvas, kernels)
        if self.gain != 1:
            blurred = self.gain * blurred
        return blurred if self.measured is None else blurred * self.measured

    def blur(self, canvas: Tensor, kernels: Tensor) -> Tensor:
        """Return (x ⋆ k) ↓s without mask and gain; shapes as in `predict`."""
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
        if self.measured is not None:
            residual = residual * self.measured
        _, height, width = self.canvas_shape
        reach = self.kernel_size // 2
        size = (height, width)
        if self.border == "circular":
            size = (height + 2 * reach, width + 2 * reach)
        spread = F.conv_transpose2d(
            (self.gain * residual)[:, None], kernel[None, None], stride=self.scale
        )
        # The transposed convolution ends at the last sample; the canvas may go further.
        missing = (size[0] - spread.shape[-2], size[1] - spread.shape[-1])
        planes = F.pad(spread, (0, missing[1], 0, missing[0]))[:, 0]
        if self.border == "extend":
            return planes
        return _wrap(_wrap(planes, reach, -1), reach, -2)

    def completed(self, canvas: Tensor, kernel: Tensor) -> Tensor:
        """Return the data at normal brightness, missing pixels as the canvas predicts them.

        Parameters
        ----------
        canvas : Tensor, (C, H, W)
        kernel : Tensor, (K, K)

        Returns
        -------
        Tensor, (C, h, w)
        """
        data = self.data / self.gain
        if self.measured is None:
            return data
        return torch.where(self.measured, data, self.blur(canvas, kernel[None])[0])

    def brightened(self) -> Observation:
        """Return the observation at normal brightness, with gain 1."""
        return replace(
            self,
            data=self.data / self.gain,
            guess=None if self.guess is None else self.guess / self.gain,
            noise=self.noise / self.gain,
            gain=1.0,
        )

    def support(self, core: Tensor) -> Tensor:
        """Return the fraction of the LR pixels that see each HR pixel and are valid.

        Parameters
        ----------
        core : Tensor, bool, (K, K)
            The part of the kernel that counts.

        Returns
        -------
        Tensor, (s·h, s·w)
            From 0 (no valid LR pixel sees it) to 1 (all that see it are valid); pixels beyond the
            borders of an extended canvas are missing.
        """
        plane = replace(self, data=self.data[:1], measured=None, gain=1.0)
        weights = self._box(core).to(self.data)
        ones = torch.ones_like(plane.data)
        measured = ones if self.measured is None else self.measured[None].to(ones)
        # On a periodic grid every HR pixel is seen by as many LR pixels as its phase allows.
        everywhere = replace(plane, border="circular").adjoint(ones, weights)
        seen = plane.crop(plane.adjoint(measured, weights))
        return (seen / everywhere)[0]

    def _box(self, core: Tensor) -> Tensor:
        """Widen a core by the area of an LR pixel, so that LR pixels see all HR pixels."""
        axis = torch.arange(self.kernel_size, device=core.device) - self.center
        near = axis.abs() <= self.scale / 2
        return core | (near[:, None] & near[None, :])


def _wrap(planes: Tensor, reach: int, dim: int) -> Tensor:
    """Add the padding at both ends of an axis to its other ends: circular padding's transpose."""
    inner = planes.shape[dim] - 2 * reach
    before = planes.narrow(dim, 0, reach)
    after = planes.narrow(dim, reach + inner, reach)
    result = planes.narrow(dim, reach, inner).clone()
    result.narrow(dim, inner - reach, reach).add_(before)
    result.narrow(dim, 0, reach).add_(after)
    return result
