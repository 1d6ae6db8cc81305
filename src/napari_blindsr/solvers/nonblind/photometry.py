"""Photometry: the restored image keeps the measured brightness of each region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.solvers.nonblind.data_step import transfer_function

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.images.planes import Orientation

REGION = 16
"""Side in LR pixels of the regions whose mean brightness is kept."""

KNOT = 8
"""LR pixels between the knots of the surface of the correction."""

STIFF = 1e-2
"""Weight of the knots' values beside their differences."""

TOLERANCE = 7e-4
"""Remaining root mean square error of a region's mean, in units of the signal."""

SOFTEST, STRICTEST = 5e-2, 1e-3
"""Weight of the surface's energy beside the errors of the means: smaller is stricter. The strictest
leaves 0.01 of the noise in the means; ten times stricter, it would cost up to 0.8 dB in images
that are hardly more than noise."""


def predicted(image: Tensor, kernel: Tensor, scale: int, *, circular: bool) -> Tensor:
    """Return the observation (C, h, w) of an image, with replicated or circular borders."""
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
    """Return the kernel that acts on turned images as a kernel (K, K) does on the original ones.

    A pixel of the data lies at pixel s·i of the image; at s·i + s − 1, if both are mirrored. The
    size does not depend on the turn.
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
    """Return the smooth image (C, s·h, s·w) that gives each region its measured mean.

    Networks that suppress noise tend to change the mean. The correction is linear between knots.
    Regions are counted from all four corners of the whole image, in which the first pixel is at
    `origin`, so that mirrored images are treated alike. Exact means would bring noise back, so they
    are followed as far as the photometry of the signal requires: its mean above the darkest
    intensity. `residual` (C, h, w) is the data minus the prediction of the restored image.
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
