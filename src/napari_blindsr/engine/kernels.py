"""Kernel families: where random blur kernels come from.

A family is a frozen dataclass of parameters that can draw kernels; adding one to
`FAMILIES` puts it into the dock, the command line and the tests. torch is imported on
first use, so that listing the families costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Generator, Tensor


def kernel_size(scale: int) -> int:
    """Return the published side of a kernel, min(4·scale + 3, 21), in HR pixels."""
    return min(4 * scale + 3, 21)


@dataclass(frozen=True, kw_only=True)
class KernelFamily(ABC):
    """A distribution of blur kernels."""

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels, all in one batch on the generator's device.

        Parameters
        ----------
        count : int
        scale : int
            HR pixels an LR pixel, which sets the default range of widths.
        size : int
            Side of the kernels, K.
        center : float
            Row and column of their centre.
        generator : torch.Generator
            Source of randomness; its device is the device of the kernels.

        Returns
        -------
        Tensor, float32, (count, K, K)
            Non-negative, each of sum 1.
        """

    def to_json(self) -> dict[str, Any]:
        """Return name and parameters as plain JSON types."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(record: dict[str, Any]) -> KernelFamily:
        """Rebuild a family from what `to_json` returned."""
        values = dict(record)
        name = values.pop("name")
        for family in FAMILIES:
            if family.name == name:
                return family(
                    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
                )
        raise ValueError(f"no kernel family is named {name!r}")


@dataclass(frozen=True, kw_only=True)
class Gaussian(KernelFamily):
    """Anisotropic Gaussian blur.

    Attributes
    ----------
    variance : tuple of float, or None
        Range of the two variances along the principal axes, in px² of the HR grid. None
        takes the range of the published sampler for the scale.
    """

    name: ClassVar[str] = "gaussian"
    label: ClassVar[str] = "Gaussian"

    variance: tuple[float, float] | None = None

    def variance_range(self, scale: int) -> tuple[float, float]:
        """Return the range of variances that is drawn from."""
        if self.variance is not None:
            return self.variance
        # The published sampler draws wider kernels than its test data have.
        shift = scale - 4
        return 0.175 * scale + 3 + shift, min(2.5 * scale, 10) + 10 + shift

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
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


FAMILIES: tuple[type[KernelFamily], ...] = (Gaussian,)
