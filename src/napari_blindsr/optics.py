"""What a microscope's data tell of its blur: the width of the diffraction-limited one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from napari_blindsr.errors import SettingsError

DIFFRACTION = 0.21
"""σ of the Gaussian that resembles the core of a wide-field point spread function, in λ/NA
(Zhang, Zerubia and Olivo-Marin, Applied Optics 46, 2007)."""

RANGES = {
    "numerical_aperture": (0.01, 1.8),
    "emission_nm": (100.0, 2000.0),
    "pixel_size_nm": (1.0, 1e6),
}


@dataclass(frozen=True, kw_only=True)
class Optics:
    """Objective, light and camera of a microscope; what is not known is None.

    Attributes
    ----------
    numerical_aperture : float or None
        NA of the objective, 0.01…1.8.
    emission_nm : float or None
        Wavelength of the light in nm, 100…2000.
    pixel_size_nm : float or None
        Side of a pixel of the image in the object, in nm, 1…1 000 000.

    Raises
    ------
    SettingsError
        If a number is out of its range.
    """

    numerical_aperture: float | None = None
    emission_nm: float | None = None
    pixel_size_nm: float | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            usable = isinstance(value, int | float) and math.isfinite(value)
            if not usable or not low <= value <= high:
                raise SettingsError(
                    f"{name} is {value!r}; expected a number from {low:g} to {high:g}"
                )

    @property
    def sigma_nm(self) -> float | None:
        """Standard deviation in nm of the diffraction-limited blur, if NA and light are known."""
        if self.numerical_aperture is None or self.emission_nm is None:
            return None
        return DIFFRACTION * self.emission_nm / self.numerical_aperture

    @property
    def sigma(self) -> float | None:
        """The same in pixels of the image; None if anything is missing."""
        sigma_nm = self.sigma_nm
        if sigma_nm is None or self.pixel_size_nm is None:
            return None
        return sigma_nm / self.pixel_size_nm

    @property
    def log_variance(self) -> float:
        """Logarithm of the variance in squared pixels of the image; NaN if it is not known."""
        sigma = self.sigma
        return math.nan if sigma is None else 2 * math.log(sigma)

    def completed(self, other: Optics) -> Optics:
        """Return these data, those that are missing taken from others."""
        return Optics(
            **{
                name: getattr(other, name) if getattr(self, name) is None else getattr(self, name)
                for name in RANGES
            }
        )

    def report(self) -> dict[str, Any]:
        """Return what is known as plain JSON types."""
        return {name: getattr(self, name) for name in RANGES}


UNKNOWN = Optics()
"""Optics of which nothing is known."""
