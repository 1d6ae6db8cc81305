"""The data module: the image nearest to another that explains the observation.

    argmin over x of  ‖y − (x ⋆ k)↓s‖² + α ‖x − z‖²,  borders periodic

Its closed form (Zhao et al., 2016; Zhang et al., 2020, eq. 7) divides by α, which is about
1e-6 for noise-free data. The form used here follows from it by the Woodbury identity,

    x = z + conj(F) · tile( (Y − mean(F·Z)) / (α + mean(|F|²)) ),

with mean and tile over the s×s aliased blocks of the spectrum. It adds a correction to z,
so that nothing large is subtracted, and takes two real transforms of the full size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def transfer_function(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return the spectrum by which correlation with a kernel multiplies an image's.

    Parameters
    ----------
    kernel : Tensor, (K, K)
        Correlation kernel; it acts about its element (K//2, K//2).
    height, width : int
        Size of the image. It may be smaller than the kernel, which then wraps around.

    Returns
    -------
    Tensor, complex, (height, width//2 + 1)
    """
    size = kernel.shape[-1]
    axis = torch.arange(size, device=kernel.device) - size // 2
    # Correlation is convolution with the flipped kernel.
    rows, columns = (-axis) % height, (-axis) % width
    flat = (rows[:, None] * width + columns[None, :]).flatten()
    spread = kernel.new_zeros(height * width).index_add(0, flat, kernel.flatten())
    spectrum: Tensor = torch.fft.rfft2(spread.reshape(height, width))
    return spectrum


class DataModule:
    """Closed-form solution for one observation and one kernel.

    Parameters
    ----------
    data : Tensor, (..., h, w)
        y, the observed image.
    kernel : Tensor, (K, K)
        Correlation kernel in HR pixels.
    scale : int
        s ≥ 1; the observation keeps pixels 0, s, 2s, … of each axis.
    measured : Tensor, bool, (h, w), optional
        Where `data` was measured. Elsewhere the image explains nothing: what z predicts
        there stands for the data, which is one majorisation–minimisation step towards the
        solution of the masked problem. More steps a call changed results by 0.01 dB.
    """

    def __init__(
        self, data: Tensor, kernel: Tensor, scale: int, *, measured: Tensor | None = None
    ) -> None:
        self._data = data
        self._scale = scale
        self._measured = measured
        height, width = data.shape[-2:]
        self._size = (scale * height, scale * width)
        self._transfer = transfer_function(kernel, *self._size)
        # The mean over the aliases of a spectrum is the spectrum of every s-th pixel.
        power = torch.fft.irfft2(self._transfer.abs().square(), s=self._size)
        self._power = torch.fft.fft2(power[::scale, ::scale]).real
        self._columns = torch.arange(self._size[1] // 2 + 1, device=data.device) % width

    def predict(self, image: Tensor) -> Tensor:
        """Return what would be observed of an image (..., s·h, s·w)."""
        blurred: Tensor = torch.fft.irfft2(self._transfer * torch.fft.rfft2(image), s=self._size)
        return blurred[..., :: self._scale, :: self._scale]

    def __call__(self, image: Tensor, alpha: Tensor) -> Tensor:
        """Return the solution.

        Parameters
        ----------
        image : Tensor, (..., s·h, s·w)
            z, the image to stay near to.
        alpha : Tensor
            α > 0, a scalar or broadcastable to the data.
        """
        residual = self._data - self.predict(image)
        if self._measured is not None:
            residual = residual * self._measured
        small = torch.fft.fft2(residual) / (alpha + self._power)
        tiled = small.repeat(*[1] * (small.ndim - 2), self._scale, 1)[..., self._columns]
        correction: Tensor = torch.fft.irfft2(self._transfer.conj() * tiled, s=self._size)
        return image + correction
