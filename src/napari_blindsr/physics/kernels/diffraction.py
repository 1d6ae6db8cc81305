"""Diffraction at a circular pupil. Imports torch, unlike the families."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


PUPIL_POINTS = 256
RADIAL_POINTS = 256


def render_airy(
    defocus: Tensor,
    *,
    numerical_aperture: float,
    wavelength: float,
    refractive_index: float,
    pixel_size: float,
    footprint: int,
    size: int,
    center: float,
    oversampling: int | None = None,
) -> Tensor:
    """Sample the scalar diffraction pattern of a circular pupil, in and out of focus.

    Parameters
    ----------
    defocus : Tensor, (n,)
        Distances to the focal plane. Lengths are all in the same unit.
    numerical_aperture, wavelength, refractive_index : float
    pixel_size : float
        Of the kernel's grid.
    footprint : int
        Side of the camera's pixel, over which the pattern is integrated, in pixels of the
        kernel's grid.
    size : int
    center : float
    oversampling : int, optional
        Points a pixel of the kernel's grid and axis; by default at least 8 a camera pixel.
        1 with a footprint of 1 samples the pattern itself.

    Returns
    -------
    Tensor, (n, size, size)
        Each of sum 1.
    """
    points = oversampling if oversampling is not None else -(-8 // footprint)
    window = footprint * points
    axis = torch.arange((size + footprint - 1) * points, device=defocus.device)
    axis = ((axis + 0.5) / points - footprint / 2 - center).float()
    radius = torch.hypot(axis[:, None], axis[None, :])
    longest = max(center, size - 1 - center) + footprint / 2
    spacing = math.sqrt(2) * longest / (RADIAL_POINTS - 2)
    profiles = _radial_profiles(
        defocus,
        wavenumber=2 * math.pi / wavelength,
        numerical_aperture=numerical_aperture,
        refractive_index=refractive_index,
        spacing=spacing * pixel_size,
    )
    position = radius / spacing
    below = position.long().clamp_max(RADIAL_POINTS - 2)
    pattern = torch.lerp(profiles[:, below], profiles[:, below + 1], position - below)
    kernels = F.avg_pool2d(pattern[:, None], window, stride=points)[:, 0]
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def _radial_profiles(
    defocus: Tensor,
    *,
    wavenumber: float,
    numerical_aperture: float,
    refractive_index: float,
    spacing: float,
) -> Tensor:
    """Return intensities (n, RADIAL_POINTS) at equally spaced radii from 0.

    h(r, z) = |∫₀¹ J₀(k·NA·r·ρ) · exp(i·k·z·√(n² − NA²·ρ²)) ρ dρ|²  (Born and Wolf, 8.8)
    """
    # ρ dρ = du/2 for u = ρ², in which the integrand is smooth. On the CPU in double
    # precision, since not every device has Bessel functions; they do not depend on z.
    u = (torch.arange(PUPIL_POINTS, dtype=torch.float64) + 0.5) / PUPIL_POINTS
    radii = spacing * torch.arange(RADIAL_POINTS, dtype=torch.float64)
    bessel = torch.special.bessel_j0(wavenumber * numerical_aperture * radii[:, None] * u.sqrt())
    path = (refractive_index**2 - numerical_aperture**2 * u).sqrt() - refractive_index
    bessel, path = bessel.float().to(defocus.device), (wavenumber * path).float().to(defocus.device)
    phase = defocus[:, None] * path
    real, imaginary = phase.cos() @ bessel.T, phase.sin() @ bessel.T
    intensities: Tensor = real.square() + imaginary.square()
    return intensities
