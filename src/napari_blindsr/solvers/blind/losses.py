"""Data terms and priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2

SMALLEST_SHARE = 1e-3
"""Smallest valid fraction of a window; windows in large holes have less, and no weight."""


def _window(like: Tensor) -> Tensor:
    axis = torch.arange(WINDOW_SIZE, device=like.device, dtype=like.dtype) - WINDOW_SIZE // 2
    weights = torch.exp(-axis.square() / (2 * WINDOW_SIGMA**2))
    return weights / weights.sum()


class StructuralSimilarity:
    """SSIM to a fixed target, for intensities in [0, 1].

    Gaussian window 11×11, σ 1.5, zero padding, constants 0.01² and 0.03² (Wang et al., 2004).

    Parameters
    ----------
    target : Tensor, (C, h, w)
    measured : Tensor, bool, (h, w), optional
        Valid pixels. Elsewhere target and images have to be 0; means and variances are those of the
        valid part of each window, so that borders of missing pixels are no structure.
    """

    def __init__(self, target: Tensor, measured: Tensor | None = None) -> None:
        self._target = target
        self._taps = _window(target)
        self._share: Tensor | None = None
        self._places: Tensor | None = None
        if measured is not None:
            places = measured.to(target)
            whole = self._blur(torch.ones_like(places))
            self._share = (self._blur(places) / whole).clamp_min(SMALLEST_SHARE)
            self._places = places / places.mean()
        self._mean, squares = self._moments(torch.stack((target, target.square())))
        self._variance = squares - self._mean.square()

    def _moments(self, images: Tensor) -> Tensor:
        """Return local means over the valid pixels."""
        blurred = self._blur(images)
        return blurred if self._share is None else blurred / self._share

    def _blur(self, images: Tensor) -> Tensor:
        """Blur (..., h, w) with the window, zero beyond the borders."""
        planes = images.reshape(-1, 1, *images.shape[-2:])
        half = WINDOW_SIZE // 2
        planes = F.conv2d(planes, self._taps[None, None, :, None], padding=(half, 0))
        planes = F.conv2d(planes, self._taps[None, None, None, :], padding=(0, half))
        return planes.reshape(images.shape)

    def __call__(self, image: Tensor) -> Tensor:
        """Return the mean SSIM of an image (C, h, w), a scalar."""
        stack = torch.stack((image, image.square(), image * self._target))
        mean, squares, products = self._moments(stack)
        variance = squares - mean.square()
        covariance = products - mean * self._mean
        numerator = (2 * mean * self._mean + C1) * (2 * covariance + C2)
        denominator = (mean.square() + self._mean.square() + C1) * (variance + self._variance + C2)
        similarity: Tensor = numerator / denominator
        return similarity.mean() if self._places is None else self._weighted(similarity)

    def _weighted(self, similarity: Tensor) -> Tensor:
        """Return the mean over the valid pixels."""
        assert self._places is not None
        result: Tensor = (similarity * self._places).mean()
        return result


def gradient_prior(image: Tensor, *, exponent: float = 0.67, epsilon: float = 1e-8) -> Tensor:
    """Return Σ (|∇x| + ε)^p of an image (C, H, W), the hyper-Laplacian prior on image gradients.

    The differences to the upper, upper-left, left and lower-left neighbour, the image
    reflected by one pixel at its borders (Krishnan and Fergus, 2009, for p ≈ 2/3).
    """
    padded = F.pad(image[None], (1, 1, 1, 1), mode="reflect")[0]
    height, width = image.shape[-2:]

    def neighbour(row: int, column: int) -> Tensor:
        return padded[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    differences = torch.stack(
        [image - neighbour(*step) for step in ((-1, 0), (-1, -1), (0, -1), (1, -1))]
    )
    return (differences.abs() + epsilon).pow(exponent).sum()


def monte_carlo_weights(losses: Tensor) -> Tensor:
    """Return the weights (L,) of random kernels from their data losses d (L,).

    q = (d − min d) / (1e-5 + Σ (d − min d)), ω = −(1 − q)² · ln(q + 1e-3).
    """
    excess = losses - losses.min()
    q = excess / (1e-5 + excess.sum())
    return -(1 - q).square() * torch.log(q + 1e-3)
