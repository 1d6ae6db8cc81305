"""Out-of-focus blur of a lens with a round aperture, in geometrical optics."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from napari_blindsr.physics.kernels.base import KernelFamily, check_range, in_parts, shown

if TYPE_CHECKING:
    from torch import Generator, Tensor


OVERSAMPLING = 8


@dataclass(frozen=True, kw_only=True)
class Disk(KernelFamily):
    """Out-of-focus blur: a uniform disc.

    Attributes
    ----------
    radius : tuple of float, or None
        Range of the radius in px of the HR grid. None is 1 to scale + 1, and 1 to 4 at
        scale 1. (The published sampler uses the variances of its Gaussians as radii,
        which fills the whole kernel.)
    """

    name: ClassVar[str] = "disk"
    label: ClassVar[str] = "Out of focus (disc)"

    radius: tuple[float, float] | None = field(
        default=None,
        metadata=shown("Radius (px)", "Range of the radius of the disc, in pixels of the result."),
    )

    def __post_init__(self) -> None:
        if self.radius is not None:
            check_range("radius", self.radius, least=0, strict=True)

    def radius_range(self, scale: int) -> tuple[float, float]:
        """Return the range of the radii."""
        if self.radius is not None:
            return self.radius
        return 1.0, 4.0 if scale == 1 else scale + 1.0

    def reach(self, scale: int) -> float:
        """Return the reach of the widest kernels from their centre, in HR pixels."""
        # A pixel that the disc covers in part reaches half a pixel further.
        return self.radius_range(scale)[1] + 0.5

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels; see `KernelFamily.sample`."""
        import torch  # noqa: PLC0415

        low, high = self.radius_range(scale)
        draw = torch.rand(count, generator=generator, device=generator.device)
        render = partial(render_disk, size=size, center=center)
        return in_parts(render, low + (high - low) * draw)


def render_disk(
    radii: Tensor, *, size: int, center: float, oversampling: int = OVERSAMPLING
) -> Tensor:
    """Draw discs, each pixel by the fraction of it that is covered.

    Parameters
    ----------
    radii : Tensor, (n,)
        In px.
    size : int
    center : float
    oversampling : int
        Points a pixel and axis.

    Returns
    -------
    Tensor, (n, size, size)
        Each of sum 1.
    """
    import torch  # noqa: PLC0415

    axis = torch.arange(size * oversampling, device=radii.device, dtype=radii.dtype)
    axis = (axis + 0.5) / oversampling - 0.5 - center
    distance = torch.hypot(axis[:, None], axis[None, :])
    # A ramp as wide as a point's spacing leaves little of the points' own aliasing.
    covered = ((radii[:, None, None] - distance) * oversampling + 0.5).clamp(0, 1)
    kernels = covered.reshape(-1, size, oversampling, size, oversampling).mean(dim=(2, 4))
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)
