"""The optics of a microscope, and the width of the diffraction-limited blur that follows."""

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
    """Objective, emission and camera of a microscope; unknown values are None.

    Attributes
    ----------
    numerical_aperture : float or None
        NA of the objective, 0.01…1.8.
    emission_nm : float or None
        Emission wavelength in nm, 100…2000.
    pixel_size_nm : float or None
        Side of an image pixel at the specimen, in nm, 1…1 000 000.

    Raises
    ------
    SettingsError
        If a number is out of its range.

    Examples
    --------
    >>> optics = Optics(numerical_aperture=1.2, emission_nm=520, pixel_size_nm=65)
    >>> round(optics.sigma, 2)
    1.4
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
        """Standard deviation in nm of the diffraction-limited blur; None if NA or λ is missing."""
        if self.numerical_aperture is None or self.emission_nm is None:
            return None
        return DIFFRACTION * self.emission_nm / self.numerical_aperture

    @property
    def sigma(self) -> float | None:
        """The same in pixels of the image; None if a value is missing."""
        sigma_nm = self.sigma_nm
        if sigma_nm is None or self.pixel_size_nm is None:
            return None
        return sigma_nm / self.pixel_size_nm

    @property
    def log_variance(self) -> float:
        """Logarithm of the variance in squared pixels of the image; NaN if unknown."""
        sigma = self.sigma
        return math.nan if sigma is None else 2 * math.log(sigma)

    def completed(self, other: Optics) -> Optics:
        """Return these optics, with missing values taken from others."""
        return Optics(
            **{
                name: getattr(other, name) if getattr(self, name) is None else getattr(self, name)
                for name in RANGES
            }
        )

    def report(self) -> dict[str, Any]:
        """Return the known values as plain JSON types."""
        return {name: getattr(self, name) for name in RANGES}


UNKNOWN = Optics()
"""Optics without any known value."""
