"""The error of a kernel; its width, axes and profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


PADDING = 12
"""Zeros around both kernels, so that moving one cuts nothing off."""


def _kernel(values: ArrayLike) -> NDArray[np.float64]:
    kernel = np.asarray(values, dtype=np.float64)
    if kernel.ndim != 2 or not np.isfinite(kernel).all() or kernel.max(initial=0) <= 0:
        raise InputError(
            f"the kernel has shape {kernel.shape}; expected a finite (K, K) array with positive "
            "values"
        )
    return kernel


def kernel_psnr(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return 10·log10(1 / mean squared difference) of two kernels in dB.

    Kernels are compared in place, with a peak of 1 instead of their own: a published figure,
    which hides much. Prefer `kernel_error`.

    Parameters
    ----------
    estimate, truth : array_like, (K, K)
        Of sum 1.
    """
    first, second = _kernel(estimate), _kernel(truth)
    if first.shape != second.shape:
        raise InputError(
            f"kernels to be compared have shapes {first.shape} and {second.shape}; "
            "expected the same"
        )
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def kernel_error(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return the relative error e_k = ‖k̂ − k‖₂ / ‖k‖₂ of a kernel after centring.

    The estimate is moved so that the centres of both, in the sense of
    `napari_blindsr.physics.centring.locate`, coincide; the common position of kernel and image,
    which the data do not determine, is thus left out.

    Parameters
    ----------
    estimate, truth : array_like, (K, K)
        Of sum 1; their sizes may differ.

    Returns
    -------
    float
        0 for kernels that differ in position only, to the accuracy of the interpolation.
    """
    # torch takes seconds to import.
    import torch  # noqa: PLC0415

    from napari_blindsr.physics.centring import locate, shift  # noqa: PLC0415

    side = max(*np.shape(estimate), *np.shape(truth)) + 2 * PADDING
    first, second = (_embed(_kernel(values), side) for values in (estimate, truth))
    here, there = locate(torch.from_numpy(first)), locate(torch.from_numpy(second))
    offset = (here[0] - there[0], here[1] - there[1])
    if max(map(abs, offset)) > 1e-6:
        first = shift(torch.from_numpy(first), offset, border="zero").numpy()
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def same_size(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pad the smaller of two square kernels of odd sides with zeros; K//2 stays K//2."""
    missing = (len(second) - len(first)) // 2
    return np.pad(first, max(missing, 0)), np.pad(second, max(-missing, 0))


def _embed(kernel: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Put a kernel into the middle of a larger array of zeros."""
    before = [(side - length) // 2 for length in kernel.shape]
    pads = [(n, side - length - n) for n, length in zip(before, kernel.shape, strict=True)]
    return np.pad(kernel, pads)


DIFFRACTION = 0.51
"""Full width at half maximum of the Airy pattern's intensity, in units of λ/NA."""

STEP = 0.05
"""Distance of the points of a profile, in pixels."""

PROFILE_PADDING = 4


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A kernel along a straight line through its centre.

    Attributes
    ----------
    position : ndarray, (n,)
        Distance from the centre in pixels of the kernel.
    value : ndarray, (n,)
        Relative to the kernel's peak on this line.
    fwhm : float
        Full width at half maximum, in pixels.
    """

    position: NDArray[np.float64]
    value: NDArray[np.float64]
    fwhm: float


@dataclass(frozen=True, kw_only=True)
class KernelShape:
    """The shape of a kernel.

    Attributes
    ----------
    center : tuple of float
        Row and column.
    angle : float
        Of the longer axis in degrees, in [0, 180), from the columns' axis towards the rows':
        clockwise as images are shown.
    longer, shorter : Profile
        Along the principal axes of the kernel's core.
    """

    center: tuple[float, float]
    angle: float
    longer: Profile
    shorter: Profile


def kernel_shape(kernel: ArrayLike) -> KernelShape:
    """Return widths, angle and profiles of a kernel (K, K).

    The axes are those of the Gaussian that resembles the kernel's core most. Profiles are
    interpolated by splines of fifth order; a kernel that is hardly wider than a pixel is not
    resolved by its own grid, and its width is uncertain by some hundredths of a pixel.
    """
    # torch takes seconds to import.
    import torch  # noqa: PLC0415

    from napari_blindsr.physics.centring import locate  # noqa: PLC0415
    from napari_blindsr.physics.kernels.moments import (  # noqa: PLC0415
        core_covariance,
        principal_axes,
    )

    values = _kernel(kernel)
    tensor = torch.from_numpy(values)
    center = locate(tensor)
    _, turn = principal_axes(core_covariance(tensor[None])[0])
    angle = float(turn)
    longer, shorter = (_profile(values, center, angle + quarter) for quarter in (0.0, math.pi / 2))
    if shorter.fwhm > longer.fwhm:
        # The core's covariance and the width at half maximum need not agree on a flat top.
        longer, shorter, angle = shorter, longer, angle + math.pi / 2
    degrees = math.degrees(angle) % 180
    return KernelShape(center=center, angle=degrees, longer=longer, shorter=shorter)


def _profile(kernel: NDArray[np.float64], center: tuple[float, float], angle: float) -> Profile:
    reach = math.ceil(math.hypot(*kernel.shape) / 2 / STEP) * STEP
    position = np.arange(-reach, reach + STEP / 2, STEP)
    rows = center[0] + PROFILE_PADDING + position * math.sin(angle)
    columns = center[1] + PROFILE_PADDING + position * math.cos(angle)
    padded = np.pad(kernel, PROFILE_PADDING)
    value = map_coordinates(padded, [rows, columns], order=5, mode="constant")
    value /= value.max()
    above = np.flatnonzero(value >= 0.5)
    left, right = int(above[0]), int(above[-1])
    fwhm = _crossing(position, value, right, 1) - _crossing(position, value, left, -1)
    return Profile(position=position, value=value, fwhm=fwhm)


def _crossing(
    position: NDArray[np.float64], value: NDArray[np.float64], index: int, step: int
) -> float:
    """Return where a profile falls through one half, beyond the last point above."""
    if not 0 <= index + step < len(value):
        return float(position[index])
    part = (value[index] - 0.5) / (value[index] - value[index + step])
    return float(position[index] + part * (position[index + step] - position[index]))


def diffraction_limit(numerical_aperture: float, wavelength: float) -> float:
    """Return 0.51 λ/NA, the full width at half maximum of a diffraction-limited focus."""
    return DIFFRACTION * wavelength / numerical_aperture
