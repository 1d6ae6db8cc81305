"""The centre of a kernel, and shifting kernel and image together.

The data do not determine the centre: a kernel shifted one way and an image shifted the same way
explain them equally well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_blindsr.physics.kernels.base import CORE

if TYPE_CHECKING:
    from torch import Tensor


LANCZOS_LOBES = 6

NEGLIGIBLE = 0.01
"""Distances in pixels that are not corrected."""


def locate(kernel: Tensor) -> tuple[float, float]:
    """Return the centre (row, column) of a kernel (K, K).

    That of a Gaussian fitted to the logarithm of the kernel's core if the core has such a
    shape, else the centroid of the core. The raw centroid would depend on a faint floor, and
    the core's centroid on a cut at the edge of the array.
    """
    values = kernel.detach().double().cpu()
    rows, columns = (values > CORE * values.max()).nonzero(as_tuple=True)
    core = values[rows, columns]
    weights = core / core.sum()
    middle = torch.stack(((weights * rows).sum(), (weights * columns).sum()))
    fitted = _gaussian_peak(rows - middle[0], columns - middle[1], core)
    if fitted is not None:
        middle = middle + fitted
    return float(middle[0]), float(middle[1])


def _gaussian_peak(y: Tensor, x: Tensor, values: Tensor) -> Tensor | None:
    """Return the peak of a Gaussian fitted to values at points; None if they are not like one."""
    if len(values) < 6:
        return None
    design = torch.stack((torch.ones_like(x), y, x, y * y, x * y, x * x), dim=1)
    # Weighting by the values squared makes a fit of logarithms one of the values.
    system = design * values[:, None]
    target = torch.log(values) * values
    solution = torch.linalg.lstsq(system, target[:, None], driver="gelsd").solution[:, 0]
    curvature = torch.stack(
        (torch.stack((2 * solution[3], solution[4])), torch.stack((solution[4], 2 * solution[5])))
    )
    if not bool((torch.linalg.eigvalsh(curvature) < -1e-3).all()):
        return None
    residual = design @ solution - torch.log(values)
    if float((values * residual.square()).sum() / values.sum()) > 0.05:
        return None
    peak = -torch.linalg.solve(curvature, solution[1:3])
    return peak if float(peak.abs().max()) < 2 else None


def shift(planes: Tensor, offset: tuple[float, float], *, border: str) -> Tensor:
    """Return planes (..., H, W) sampled at their own positions plus an offset (row, column).

    result[i, j] = planes[i + row, j + column], by Lanczos interpolation; `border` is "circular",
    "replicate" or "zero".
    """
    stack = planes.reshape(-1, 1, *planes.shape[-2:])
    for dim, distance in ((2, offset[0]), (3, offset[1])):
        whole = math.floor(distance)
        taps = _lanczos(distance - whole).to(stack)
        # Taps reach from whole − lobes + 1 to whole + lobes.
        before = max(LANCZOS_LOBES - 1 - whole, 0)
        after = max(LANCZOS_LOBES + whole, 0)
        padding = (before, after, 0, 0) if dim == 3 else (0, 0, before, after)
        mode = "constant" if border == "zero" else border
        padded = F.pad(stack, padding, mode=mode)
        start = before + whole - LANCZOS_LOBES + 1
        length = stack.shape[dim] + len(taps) - 1
        window = padded.narrow(dim, start, length)
        shape = (1, 1, 1, -1) if dim == 3 else (1, 1, -1, 1)
        stack = F.conv2d(window, taps.reshape(shape))
    return stack.reshape(planes.shape)


def _lanczos(fraction: float) -> Tensor:
    """Return the weights of pixels 1 − lobes … lobes for a position between 0 and 1."""
    distance = torch.arange(1 - LANCZOS_LOBES, LANCZOS_LOBES + 1).double() - fraction
    taps = torch.sinc(distance) * torch.sinc(distance / LANCZOS_LOBES)
    return taps / taps.sum()


def recentre(image: Tensor, kernel: Tensor, *, center: float, border: str) -> tuple[Tensor, Tensor]:
    """Shift a kernel's centre to a row and column, and the image (C, H, W) with it.

    The kernel (K, K) is then non-negative, of sum 1.
    """
    row, column = locate(kernel)
    offset = (row - center, column - center)
    if max(map(abs, offset)) < NEGLIGIBLE:
        return image, kernel
    moved = shift(kernel, offset, border="zero").clamp_min(0)
    beyond = "circular" if border == "circular" else "replicate"
    # Lanczos interpolation overshoots at edges; the image keeps its range.
    low, high = image.aminmax()
    shifted = shift(image, offset, border=beyond).clamp(low, high)
    return shifted, moved / moved.sum()
