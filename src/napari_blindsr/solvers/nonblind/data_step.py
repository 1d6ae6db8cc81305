"""The data module: the image nearest to another that explains the observation.

    argmin over x of  ‖y − (x ⋆ k)↓s‖² + α ‖x − z‖²,  borders periodic

Its closed form (Zhao et al., 2016; Zhang et al., 2020, eq. 7) divides by α, which is about
1e-6 for noise-free data. The form used here follows from it by the Woodbury identity,

    x = z + conj(F) · tile( (Y − mean(F·Z)) / (α + mean(|F|²)) ),

with mean and tile over the s×s aliased blocks of the spectrum. It adds a correction to z,
so that nothing large is subtracted, and takes two real transforms of the full size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


SPECTRAL_CONTRAST = 0.1
"""Root mean square difference between neighbouring pixels of a sharp picture in [0, 1]."""

ROUNDING = 0.3 / 255
"""Standard deviation of the error of rounding to 8 bits: all data have some noise."""

FREE = 1e-6
"""Weight of an image's square beside that of its differences, which keeps its mean finite."""


def transfer_function(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return the spectrum (..., height, width//2 + 1) by which correlation multiplies an image's.

    The kernels (..., K, K) act about their element (K//2, K//2), and wrap around if larger than the
    image.
    """
    size = kernel.shape[-1]
    axis = torch.arange(size, device=kernel.device) - size // 2
    # Correlation is convolution with the flipped kernel.
    rows, columns = (-axis) % height, (-axis) % width
    flat = (rows[:, None] * width + columns[None, :]).flatten()
    spread = kernel.new_zeros(*kernel.shape[:-2], height * width)
    spread = spread.index_add(-1, flat, kernel.flatten(-2)).unflatten(-1, (height, width))
    spectrum: Tensor = torch.fft.rfft2(spread)
    return spectrum


class DataModule:
    """Closed-form solution for observations and their kernel.

    Parameters
    ----------
    data : Tensor, (..., h, w)
        y, the observed image.
    kernel : Tensor, (K, K) or (..., K, K)
        Correlation kernel in HR pixels, for all or for each.
    scale : int
        s ≥ 1; the observation keeps pixels 0, s, 2s, … of each axis.
    measured : Tensor, bool, (h, w), optional
        Valid pixels. The others are replaced by what z predicts there: one
        majorisation–minimisation step towards the solution of the masked problem. More steps
        changed results by 0.01 dB.
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
        self._power = self._fold(self._transfer.abs().square())
        self._columns = torch.arange(self._size[1] // 2 + 1, device=data.device) % width

    def predict(self, image: Tensor) -> Tensor:
        """Return the observation of an image (..., s·h, s·w)."""
        blurred: Tensor = torch.fft.irfft2(self._transfer * torch.fft.rfft2(image), s=self._size)
        return blurred[..., :: self._scale, :: self._scale]

    def linear(
        self,
        noise_power: float | Tensor,
        *,
        contrast: float = SPECTRAL_CONTRAST,
        gradients: tuple[Tensor, Tensor] | None = None,
        guess: Tensor | None = None,
    ) -> Tensor:
        """Return the linear estimate for images with a 1/f² spectrum.

        The minimum of ‖y − (x ⋆ k)↓s‖²/σ² + ‖∇x − g‖²/c², σ² the noise power and c the contrast:
        the root mean square difference between neighbouring pixels. For g = 0 that is the Wiener
        filter with the aliases of all frequencies. `gradients` are g to the next row and column;
        the prediction of `guess` replaces missing data.
        """
        like: dict[str, Any] = {"device": self._data.device, "dtype": self._data.dtype}
        slopes = [
            2 * torch.pi * torch.fft.fftfreq(self._size[0], **like)[:, None],
            2 * torch.pi * torch.fft.rfftfreq(self._size[1], **like)[None],
        ]
        # |e^iφ − 1|² of both directions; the mean, which has no gradient, is all but free.
        steepness = sum((2 * torch.sin(slope / 2)).square() for slope in slopes) + FREE
        spectrum = contrast**2 / steepness
        residual = self._data
        if guess is not None and self._measured is not None:
            residual = torch.where(self._measured, residual, self.predict(guess))
        expected: Tensor | None = None
        if gradients is not None:
            steps = [torch.polar(torch.ones_like(slope), slope) - 1 for slope in slopes]
            summed = [
                step.conj() * torch.fft.rfft2(field)
                for step, field in zip(steps, gradients, strict=True)
            ]
            expected = (summed[0] + summed[1]) / steepness
            blurred = torch.fft.irfft2(self._transfer * expected, s=self._size)
            residual = residual - blurred[..., :: self._scale, :: self._scale]
        aliased = self._fold(self._transfer.abs().square() * spectrum)
        small = torch.fft.fft2(residual) / (aliased + noise_power)
        filtered = spectrum * self._transfer.conj() * self._tile(small)
        result: Tensor = torch.fft.irfft2(
            filtered if expected is None else filtered + expected, s=self._size
        )
        return result

    def _fold(self, power: Tensor) -> Tensor:
        """Return the mean over the aliases of a power spectrum: that of every s-th pixel.

        Only positive numbers are added, so that rounding errors of the large ones at low
        frequencies do not hide the small ones at high frequencies.
        """
        width = self._size[1]
        # What the half-plane leaves out: column −v of row −u is column v of row u.
        others = power[..., 1 : (width + 1) // 2].flip(-2, -1).roll(1, -2)
        whole = torch.cat((power, others), dim=-1)
        blocks = whole.unflatten(-1, (self._scale, -1)).unflatten(-3, (self._scale, -1))
        folded: Tensor = blocks.mean(dim=(-4, -2))
        return folded

    def _tile(self, small: Tensor) -> Tensor:
        """Repeat the spectrum of the samples over that of the image."""
        return small.repeat(*[1] * (small.ndim - 2), self._scale, 1)[..., self._columns]

    def __call__(self, image: Tensor, alpha: Tensor) -> Tensor:
        """Return the solution near an image z (..., s·h, s·w), for α > 0 that fits the data."""
        residual = self._data - self.predict(image)
        if self._measured is not None:
            residual = residual * self._measured
        small = torch.fft.fft2(residual) / (alpha + self._power)
        spectrum = self._transfer.conj() * self._tile(small)
        correction: Tensor = torch.fft.irfft2(spectrum, s=self._size)
        return image + correction


WIDTHS = (32, 64, 96)

LEVELS = 3
"""Maps of noise, scale and kernel for the denoiser."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """The images of a round: a data step and a denoising.

    Attributes
    ----------
    before, explained, image : Tensor, (n, H, W)
        The image before the data step, after it, and after the denoising.
    noise : Tensor, (n, 1, 1)
        Standard deviation of the noise that the denoising assumed.
    levels : Tensor, (n, 3, ⌈H/8⌉·4, ⌈W/8⌉·4)
        Maps that the denoiser was given.
    memory : Tensor, (n, F, ⌈H/8⌉·4, ⌈W/8⌉·4)
        Its features.
    """

    before: Tensor
    explained: Tensor
    image: Tensor
    noise: Tensor
    levels: Tensor
    memory: Tensor
