"""Photometry: the restored image has the brightness that was measured, region by region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.solvers.nonblind.data_step import transfer_function

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.images.orientation import Orientation

REGION = 16
"""Side in LR pixels of the regions whose mean brightness is kept."""

KNOT = 8
"""LR pixels between the knots of the surface that carries the missing light."""

STIFF = 1e-2
"""How much the knots' size counts beside their differences."""

TOLERANCE = 7e-4
"""Root mean square error of a region's mean that is left, in units of the signal."""

SOFTEST, STRICTEST = 5e-2, 1e-3
"""How much errors of the means count beside the surface's energy: the less, the stricter. The
strictest leaves 0.01 of the noise in the means; ten times stricter, it would cost up to 0.8 dB in
images that are hardly more than noise."""


def predicted(image: Tensor, kernel: Tensor, scale: int, *, circular: bool) -> Tensor:
    """Return what is observed of an image (C, s·h, s·w) through a kernel: (C, h, w).

    Beyond its borders the image goes on as it is there, or on the other side.
    """
    margin = -(-(len(kernel) // 2) // scale)
    pad = [scale * margin] * 4
    if circular:
        whole = image
        margin = 0
    else:
        whole = F.pad(image[None], pad, mode="replicate")[0]
    transfer = transfer_function(kernel.to(image.dtype), *whole.shape[-2:])
    blurred = torch.fft.irfft2(transfer * torch.fft.rfft2(whole), s=whole.shape[-2:])
    sampled = blurred[..., ::scale, ::scale]
    rows, columns = (n - margin for n in sampled.shape[-2:])
    result: Tensor = sampled[..., margin:rows, margin:columns]
    return result


def turned_kernel(kernel: Tensor, turn: Orientation, scale: int) -> Tensor:
    """Return the kernel (K, K) that acts on turned images as a kernel does on those as they are.

    A pixel of the data lies at pixel s·i of the image; at s·i + s − 1, if both are mirrored. All
    turns give kernels of one size.
    """
    padded = F.pad(kernel, [scale] * 4)
    axes = [axis for axis, wanted in ((0, turn.rows), (1, turn.columns)) if wanted]
    if axes:
        padded = padded.flip(axes).roll([scale - 1] * len(axes), axes)
    return padded.T if turn.transposed else padded


def mean_correction(
    residual: Tensor,
    scale: int,
    *,
    noise: float,
    signal: float,
    measured: Tensor | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """Return the smooth image that gives each region the mean that was measured.

    Networks that suppress noise tend to change the mean of what they suppress. A smooth surface,
    linear between knots, carries the missing light. Regions are counted from all four corners of an
    image, so that mirrored images are treated alike. Following the means exactly brings noise back,
    so they are followed as far as the signal's photometry asks for.

    Parameters
    ----------
    residual : Tensor, (C, h, w)
        The data minus what is predicted from the restored image.
    scale : int
        s
    noise, signal : float
        Standard deviation of the data's noise, and their mean above the darkest intensity.
    measured : Tensor, bool, (h, w), optional
        What else there is does not count.
    origin : tuple of int
        Row and column of the first pixel in the whole image, whose regions begin at its corner.

    Returns
    -------
    Tensor, (C, s·h, s·w)
    """
    values = residual.double()
    if measured is not None:
        values = torch.where(measured, values, 0.0)
    left = TOLERANCE * signal / max(noise, 1e-9 * abs(signal), 1e-30)
    strictness = min(SOFTEST, max(STRICTEST, 1e-4 * (left / 0.005) ** 3))
    rows, columns = (
        _surface(n, start, scale, strictness).to(values)
        for n, start in zip(residual.shape[-2:], origin, strict=True)
    )
    result: Tensor = (rows @ values @ columns.T).to(residual.dtype)
    return result


def _surface(length: int, start: int, scale: int, strictness: float) -> Tensor:
    """Return the matrix (scale · length, length) from residuals to the surface, along one axis."""
    means = _regions(length, start)
    knots = -(-length // KNOT) + 1
    spacing = (length - 1) / max(1, knots - 1)
    coarse = torch.arange(length).double()
    fine = (torch.arange(scale * length).double() + 0.5) / scale - 0.5
    reached = means @ _hats(coarse, knots, spacing)
    differences = torch.eye(knots).double().diff(dim=0)
    energy = differences.T @ differences + STIFF * torch.eye(knots).double()
    spread = torch.linalg.solve(energy, reached.T)
    gram = reached @ spread
    gram = gram + strictness * gram.diagonal().mean() * torch.eye(len(gram)).double()
    weights: Tensor = _hats(fine, knots, spacing) @ spread @ torch.linalg.solve(gram, means)
    return weights


def _regions(length: int, start: int) -> Tensor:
    """Return the matrix (n, length) of means over regions, counted from both ends."""
    if length <= REGION:
        return torch.full((1, length), 1 / length).double()
    first = -start % REGION
    begins = list(range(first, length - REGION + 1, REGION))
    if start == 0:
        begins = sorted({*begins, *(length - REGION - begin for begin in begins)})
    means = torch.zeros(len(begins), length).double()
    for row, begin in enumerate(begins):
        means[row, begin : begin + REGION] = 1 / REGION
    return means


def _hats(places: Tensor, knots: int, spacing: float) -> Tensor:
    """Return weights (n, knots) of linear interpolation between knots."""
    if knots == 1:
        return torch.ones(len(places), 1).double()
    position = (places / spacing).clamp(0, knots - 1)
    return (1 - (position[:, None] - torch.arange(knots).double()).abs()).clamp(min=0)
