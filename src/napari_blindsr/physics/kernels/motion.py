"""Camera shake: random paths, or measured kernels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from napari_blindsr.physics.kernels.base import (
    KernelFamily,
    check_positive,
    check_range,
    in_parts,
    shown,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from typing_extensions import Self

    from napari_blindsr.physics.kernels.random_paths import KernelSet


@dataclass(frozen=True, kw_only=True)
class Motion(KernelFamily):
    """Camera shake: a random walk with inertia, or one of several given kernels.

    Attributes
    ----------
    extent : tuple of float, or None
        Range of the largest distance of the path from its mean, in px of the HR grid.
        None is scale/2 to 1.5·scale, and 1 to 4 at scale 1.
    persistence : float
        Time for which the camera keeps its velocity, as a fraction of the exposure. The path
        is jagged for 0.01 and nearly straight for 1.
    kernels : KernelSet, or None
        Kernels to draw from instead of paths, in pixels of the HR grid.
    """

    name: ClassVar[str] = "motion"
    label: ClassVar[str] = "Camera shake"

    extent: tuple[float, float] | None = field(
        default=None,
        metadata=shown(
            "Extent (px)",
            "Range of the largest distance of the path from its middle, in pixels of the result.",
        ),
    )
    persistence: float = field(
        default=0.2,
        metadata=shown(
            "Persistence",
            "For what part of the exposure the camera keeps its velocity:\n"
            "0.01 makes jagged paths, 1 nearly straight ones.",
            low=0.01,
            high=10,
            step=0.05,
        ),
    )
    kernels: KernelSet | None = field(
        default=None,
        metadata=shown(
            "Kernel folder",
            "Folder of kernels (.mat, .npy) to draw from instead of random paths:\n"
            "correlation kernels in pixels of the result.",
        ),
    )

    def __post_init__(self) -> None:
        if self.extent is not None:
            check_range("extent", self.extent, least=0)
        check_positive("persistence", self.persistence)

    def extent_range(self, scale: int) -> tuple[float, float]:
        """Return the range of the extents."""
        if self.extent is not None:
            return self.extent
        return (1.0, 4.0) if scale == 1 else (scale / 2, 1.5 * scale)

    def reach(self, scale: int) -> float:
        """Return the reach of the widest kernels from their centre, in HR pixels."""
        if self.kernels is not None:
            return self.kernels.reach + 1
        return self.extent_range(scale)[1] + 1

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels; see `KernelFamily.sample`."""
        import torch  # noqa: PLC0415

        from napari_blindsr.physics.kernels import random_paths  # noqa: PLC0415

        device = generator.device
        if self.kernels is not None:
            total = len(self.kernels.tensor)
            chosen = torch.randint(total, (count,), generator=generator, device=device)
            return random_paths.place(
                self.kernels.tensor.to(device)[chosen], size=size, center=center
            )
        low, high = self.extent_range(scale)
        extents = low + (high - low) * torch.rand(count, generator=generator, device=device)
        paths = random_paths.random_paths(
            extents, persistence=self.persistence, generator=generator
        )
        return in_parts(partial(random_paths.render_paths, size=size, center=center), paths)

    def to_json(self) -> dict[str, Any]:
        """Return name and parameters, with given kernels, as plain JSON types."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        record["kernels"] = None if self.kernels is None else self.kernels.to_json()
        return {"name": self.name, **record}

    @classmethod
    def from_parameters(cls, values: dict[str, Any]) -> Self:
        """Rebuild the family from the parameters of `to_json`."""
        from napari_blindsr.physics.kernels.random_paths import KernelSet  # noqa: PLC0415

        kernels = values.get("kernels")
        rebuilt = None if kernels is None else KernelSet.from_json(kernels)
        return super().from_parameters({**values, "kernels": rebuilt})
