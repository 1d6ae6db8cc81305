"""Anisotropic Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_blindsr.physics.kernels.base import (
    KernelFamily,
    check_range,
    kernel_size,
    shown,
    side_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from napari_blindsr.types import Geometry


@dataclass(frozen=True, kw_only=True)
class Gaussian(KernelFamily):
    """Anisotropic Gaussian blur.

    Attributes
    ----------
    variance : tuple of float, or None
        Range of the two variances along the principal axes, in px² of the HR grid. None
        takes the range of the published sampler for the scale, and 0.25…9 at scale 1,
        for which nothing is published.
    """

    name: ClassVar[str] = "gaussian"
    label: ClassVar[str] = "Gaussian"

    variance: tuple[float, float] | None = field(
        default=None,
        metadata=shown(
            "Width σ (px)",
            "Range of the standard deviations along both principal axes, in pixels of the result.\n"
            "Automatic is no bound for Fast: there the width is the estimated one.",
            name="sigma",
        ),
    )

    def __post_init__(self) -> None:
        if self.variance is not None:
            check_range("variance", self.variance, least=0, strict=True)

    def variance_range(self, scale: int) -> tuple[float, float]:
        """Return the range of the variances."""
        if self.variance is not None:
            return self.variance
        if scale == 1:
            return 0.25, 9.0
        # The published sampler draws wider kernels than its test data have.
        shift = scale - 4
        return 0.175 * scale + 3 + shift, min(2.5 * scale, 10) + 10 + shift

    def reach(self, scale: int) -> float:
        """Return the reach of the widest kernels from their centre, in HR pixels."""
        return 3 * math.sqrt(self.variance_range(scale)[1])

    def size(self, scale: int) -> int:
        """Return the side of the kernels.

        The published range of variances goes with the published side, although that cuts its widest
        kernels at their edges.
        """
        if self.variance is None and scale > 1:
            return kernel_size(scale)
        return super().size(scale)

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels; see `KernelFamily.sample`."""
        import torch  # noqa: PLC0415

        low, high = self.variance_range(scale)
        draw = torch.rand(count, 3, generator=generator, device=generator.device)
        variances = low + (high - low) * draw[:, :2]
        return render_gaussian(variances, math.pi * draw[:, 2], size=size, center=center)


def render_gaussian(variances: Tensor, angles: Tensor, *, size: int, center: float) -> Tensor:
    """Sample anisotropic Gaussians on the pixel grid.

    Parameters
    ----------
    variances : Tensor, (n, 2)
        λ1, λ2: variances along the principal axes, in px².
    angles : Tensor, (n,)
        θ in radians: the first axis is turned by θ from the column axis towards the
        row axis, so the covariance in (x, y) is R(θ)·diag(λ1, λ2)·R(θ)ᵀ.
    size : int
    center : float

    Returns
    -------
    Tensor, (n, size, size)
        Each of sum 1.
    """
    import torch  # noqa: PLC0415

    axis = torch.arange(size, device=variances.device, dtype=variances.dtype) - center
    x, y = axis[None, None, :], axis[None, :, None]
    cos, sin = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    first = (cos * x + sin * y).square() / variances[:, 0, None, None]
    second = (cos * y - sin * x).square() / variances[:, 1, None, None]
    # Softmax keeps very narrow kernels from becoming 0/0 between two pixels.
    return torch.softmax(-0.5 * (first + second).flatten(1), dim=1).reshape(-1, size, size)


def gaussian_of(
    family: Gaussian,
    logarithm: Tensor,
    *,
    scale: int,
    geometry: Geometry,
    largest: int | None = None,
    size: int | None = None,
) -> NDArray[np.float32]:
    """Return the Gaussian kernel whose covariance in LR px² has a logarithm (3,).

    Parameters
    ----------
    family : Gaussian
        Its range of variances limits the kernel.
    logarithm : Tensor, (3,)
        As `moments.log_covariance` writes it.
    scale : int
    geometry : {"camera", "benchmark"}
    largest : int, optional
        Largest side, odd; larger kernels are cut.
    size : int, optional
        Side; that of the family, or of the kernel's reach if larger, if left out.
    """
    # torch takes seconds to import.
    from napari_blindsr.physics.kernels.moments import (  # noqa: PLC0415
        covariance_of,
        principal_axes,
    )
    from napari_blindsr.physics.observation import kernel_center  # noqa: PLC0415

    variances, angle = principal_axes(scale**2 * covariance_of(logarithm))
    if family.variance is not None:
        variances = variances.clamp(*family.variance)
    if size is None:
        reach = 3 * math.sqrt(float(variances.max()))
        size = max(family.size(scale), side_for(reach, scale))
    if largest is not None:
        size = min(size, largest)
    center = kernel_center(size, scale, geometry)
    kernel = render_gaussian(variances[None], angle[None], size=size, center=center)[0].numpy()
    # A longer reach on one side would treat mirrored images differently.
    excess = round(2 * center) - (size - 1)
    cut = slice(None, excess) if excess >= 0 else slice(excess, None)
    kernel[cut] = kernel[:, cut] = 0
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
