"""The point spread function of a microscope, in and out of focus."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from napari_blindsr.errors import SettingsError
from napari_blindsr.physics.kernels.base import (
    KernelFamily,
    check_positive,
    check_range,
    in_parts,
    shown,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from napari_blindsr.optics import Optics


SECOND_ZERO = 1.1166
"""Radius of the second dark ring of an Airy pattern, in λ/NA; it holds 91 % of the light."""


NEEDED = {
    "numerical_aperture": "--na",
    "emission_nm": "--emission",
    "pixel_size_nm": "--pixel-size",
}
"""The optics that the kernels are computed from, with their options on the command line."""


@dataclass(frozen=True, kw_only=True)
class Airy(KernelFamily):
    """Widefield microscope: Airy pattern, defocused, integrated over the camera's pixel.

    Lengths are in nanometres, at the specimen.

    Attributes
    ----------
    numerical_aperture : float
    wavelength : float
        Of the emission, in vacuum.
    pixel_size : float
        Of the LR image.
    refractive_index : float
        Of the immersion medium, larger than the numerical aperture.
    defocus : tuple of float
        Range of the distance to the focal plane.
    """

    name: ClassVar[str] = "airy"
    label: ClassVar[str] = "Microscope (Airy)"
    instrument: ClassVar[tuple[str, ...]] = ("numerical_aperture", "wavelength", "pixel_size")

    numerical_aperture: float = field(
        default=0.8, metadata=shown("Aperture NA", "Of the objective.", low=0.01, high=2, step=0.05)
    )
    wavelength: float = field(
        default=520.0,
        metadata=shown(
            "Wavelength (nm)",
            "Of the light that is recorded, in vacuum, in nm.",
            low=1,
            high=1e5,
            step=10,
        ),
    )
    pixel_size: float = field(
        default=160.0,
        metadata=shown(
            "Pixel size (nm)",
            "Of the image, not of the result, at the specimen, in nm.\n"
            "Taken from the image's layer if that has a unit of length.",
            low=0.1,
            high=1e6,
            step=10,
        ),
    )
    refractive_index: float = field(
        default=1.0,
        metadata=shown(
            "Refractive index",
            "Of the immersion medium: 1 for air, 1.33 for water, 1.52 for oil.",
            low=1,
            high=4,
            step=0.05,
        ),
    )
    defocus: tuple[float, float] = field(
        default=(0.0, 500.0),
        metadata=shown(
            "Defocus (nm)",
            "Range of the distance of the specimen from the focal plane, in nm.",
            high=1e6,
            step=50,
        ),
    )

    def __post_init__(self) -> None:
        for name in ("numerical_aperture", "wavelength", "pixel_size", "refractive_index"):
            check_positive(name, getattr(self, name))
        check_range("defocus", self.defocus, least=0)
        if self.numerical_aperture >= self.refractive_index:
            raise SettingsError(
                f"numerical_aperture is {self.numerical_aperture:g} and refractive_index "
                f"{self.refractive_index:g}; expected an aperture below the index"
            )

    @classmethod
    def of(cls, optics: Optics, **parameters: Any) -> Airy:
        """Return the family of a microscope; a `SettingsError` if its optics are unknown."""
        known = optics.report()
        missing = [f"{name} ({option})" for name, option in NEEDED.items() if known[name] is None]
        if missing:
            raise SettingsError(
                f"kernel is {cls.name!r}, which is computed from the optics; unknown: "
                f"{', '.join(missing)}"
            )
        return cls(
            numerical_aperture=known["numerical_aperture"],
            wavelength=known["emission_nm"],
            pixel_size=known["pixel_size_nm"],
            **parameters,
        )

    def reach(self, scale: int) -> float:
        """Return the reach of the widest kernels from their centre, in HR pixels.

        As far as the second dark ring and the cone of light at the largest defocus.
        """
        sine = self.numerical_aperture / self.refractive_index
        cone = self.defocus[1] * sine / math.sqrt(1 - sine * sine)
        spread = math.hypot(SECOND_ZERO * self.wavelength / self.numerical_aperture, cone)
        return scale * (spread / self.pixel_size + 0.5)

    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels; see `KernelFamily.sample`."""
        import torch  # noqa: PLC0415

        from napari_blindsr.physics.kernels.diffraction import render_airy  # noqa: PLC0415

        low, high = self.defocus
        draw = torch.rand(count, generator=generator, device=generator.device)
        render = partial(
            render_airy,
            numerical_aperture=self.numerical_aperture,
            wavelength=self.wavelength,
            refractive_index=self.refractive_index,
            pixel_size=self.pixel_size / scale,
            footprint=scale,
            size=size,
            center=center,
        )
        return in_parts(render, low + (high - low) * draw)
