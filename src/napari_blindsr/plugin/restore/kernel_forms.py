"""The parameters of each kernel family, as rows of a form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets.bases import BaseValueWidget

from napari_blindsr.physics.kernels import (
    FAMILIES,
    Airy,
    Disk,
    Gaussian,
    KernelFamily,
    Line,
    Motion,
)
from napari_blindsr.physics.kernels.base import check_range
from napari_blindsr.plugin.widgets.fields import Span, number, path_field

AUTOMATIC = "\nAutomatic takes the range that is usual for the scale."


class FamilyForm:
    """The parameters of a kernel family; none, unless a subclass has some.

    Parameters
    ----------
    family : type of KernelFamily

    Attributes
    ----------
    rows : tuple of (str, BaseValueWidget)
        Label and field of each parameter.
    """

    def __init__(self, family: type[KernelFamily]) -> None:
        self._family = family
        self.rows: tuple[tuple[str, BaseValueWidget[Any]], ...] = ()

    @property
    def idle(self) -> tuple[BaseValueWidget[Any], ...]:
        """Fields that have no effect, given what is set."""
        return ()

    @property
    def folder(self) -> Path | None:
        """Folder of kernels to draw from instead."""
        return None

    @property
    def is_refined(self) -> bool:
        """Whether what is read of such a blur can be refined."""
        return self._family.told_by_widths

    def kernel(self) -> KernelFamily:
        """Return the family with the parameters that are set.

        Raises
        ------
        SettingsError
        """
        return self._family()

    def show_usual(self, scale: int) -> None:
        """Show what automatic parameters are at a scale."""

    def show_pixel_size(self, size: float) -> None:
        """Take the size of an image's pixel, in nm."""


class GaussianForm(FamilyForm):
    """Widths of the Gaussian."""

    def __init__(self) -> None:
        super().__init__(Gaussian)
        self.sigma = Span(
            None,
            tooltip="Range of the standard deviations along both principal axes of the Gaussian,\n"
            "in pixels of the result." + AUTOMATIC + "\nFor Fast it is no bound then: the width is "
            "as it is read.",
        )
        self.rows = (("Width σ (px)", self.sigma),)

    def kernel(self) -> Gaussian:
        """Return the family with the parameters that are set."""
        sigma = self.sigma.value
        if sigma is None:
            return Gaussian()
        check_range("width σ", sigma, least=0, strict=True)
        return Gaussian(variance=(sigma[0] ** 2, sigma[1] ** 2))

    def show_usual(self, scale: int) -> None:
        """Show what automatic parameters are at a scale."""
        low, high = Gaussian().variance_range(scale)
        self.sigma.show_usual(math.sqrt(low), math.sqrt(high))


class DiskForm(FamilyForm):
    """Radius of the disc."""

    def __init__(self) -> None:
        super().__init__(Disk)
        self.radius = Span(
            None, tooltip="Range of the radius of the disc, in pixels of the result." + AUTOMATIC
        )
        self.rows = (("Radius (px)", self.radius),)

    def kernel(self) -> Disk:
        """Return the family with the parameters that are set."""
        return Disk(radius=self.radius.value)

    def show_usual(self, scale: int) -> None:
        """Show what automatic parameters are at a scale."""
        self.radius.show_usual(*Disk().radius_range(scale))


class LineForm(FamilyForm):
    """Length of the line."""

    def __init__(self) -> None:
        super().__init__(Line)
        self.half_length = Span(
            None,
            tooltip="Range of half the length of the motion, in pixels of the result: from its\n"
            "middle to either end." + AUTOMATIC,
        )
        self.rows = (("Half length (px)", self.half_length),)

    def kernel(self) -> Line:
        """Return the family with the parameters that are set."""
        return Line(half_length=self.half_length.value)

    def show_usual(self, scale: int) -> None:
        """Show what automatic parameters are at a scale."""
        self.half_length.show_usual(*Line().half_length_range(scale))


class MotionForm(FamilyForm):
    """Paths of a shaken camera, or measured kernels."""

    def __init__(self) -> None:
        super().__init__(Motion)
        self.extent = Span(
            None,
            tooltip="Range of the largest distance of the path from its middle, in pixels of the\n"
            "result." + AUTOMATIC,
        )
        self.persistence = number(
            Motion().persistence,
            low=0.01,
            high=10,
            step=0.05,
            tooltip="For what part of the exposure the camera keeps its velocity:\n"
            "0.01 makes jagged paths, 1 nearly straight ones.",
        )
        self.kernels = path_field(
            FileDialogMode.EXISTING_DIRECTORY,
            tooltip="Folder of kernels (.mat, .npy) to draw from instead of random paths:\n"
            "correlation kernels in pixels of the result.",
        )
        self.rows = (
            ("Kernel folder", self.kernels),
            ("Extent (px)", self.extent),
            ("Persistence", self.persistence),
        )

    @property
    def idle(self) -> tuple[BaseValueWidget[Any], ...]:
        """Fields that have no effect, given what is set."""
        return () if self.folder is None else (self.extent, self.persistence)

    @property
    def folder(self) -> Path | None:
        """Folder of kernels to draw from instead."""
        path = self.kernels.value
        return path if isinstance(path, Path) else None

    def kernel(self) -> Motion:
        """Return the family with the parameters that are set; a folder is read later."""
        if self.folder is not None:
            # Reading it takes torch, which takes seconds.
            return Motion()
        return Motion(extent=self.extent.value, persistence=self.persistence.value)

    def show_usual(self, scale: int) -> None:
        """Show what automatic parameters are at a scale."""
        self.extent.show_usual(*Motion().extent_range(scale))


class AiryForm(FamilyForm):
    """What a microscope has."""

    def __init__(self) -> None:
        super().__init__(Airy)
        usual = Airy()
        self.numerical_aperture = number(
            usual.numerical_aperture, low=0.01, high=2, step=0.05, tooltip="Of the objective."
        )
        self.wavelength = number(
            usual.wavelength,
            low=1,
            high=1e5,
            step=10,
            tooltip="Of the light that is recorded, in vacuum, in nm.",
        )
        self.pixel_size = number(
            usual.pixel_size,
            low=0.1,
            high=1e6,
            step=10,
            tooltip="Of the image, not of the result, at the specimen, in nm.\n"
            "Taken from the image's layer if that has a unit of length.",
        )
        self.refractive_index = number(
            usual.refractive_index,
            low=1,
            high=4,
            step=0.05,
            tooltip="Of the immersion medium: 1 for air, 1.33 for water, 1.52 for oil.",
        )
        self.defocus = Span(
            usual.defocus,
            high=1e6,
            step=50,
            tooltip="Range of the distance of the specimen from the focal plane, in nm.",
        )
        self._taken = usual.pixel_size
        self.rows = (
            ("Aperture NA", self.numerical_aperture),
            ("Wavelength (nm)", self.wavelength),
            ("Pixel size (nm)", self.pixel_size),
            ("Refractive index", self.refractive_index),
            ("Defocus (nm)", self.defocus),
        )

    def kernel(self) -> Airy:
        """Return the family with the parameters that are set."""
        return Airy(
            numerical_aperture=self.numerical_aperture.value,
            wavelength=self.wavelength.value,
            pixel_size=self.pixel_size.value,
            refractive_index=self.refractive_index.value,
            defocus=self.defocus.value,
        )

    def show_pixel_size(self, size: float) -> None:
        """Take the size of an image's pixel, in nm, unless the user has set another one."""
        if self.pixel_size.value == self._taken and self.pixel_size.min <= size <= 1e6:
            self.pixel_size.value = size
            # The field rounds.
            self._taken = self.pixel_size.value


FORMS = {
    Gaussian: GaussianForm,
    Disk: DiskForm,
    Line: LineForm,
    Motion: MotionForm,
    Airy: AiryForm,
}
"""Families whose parameters can be set; others have their defaults."""


def family_forms() -> dict[str, FamilyForm]:
    """Return a form for each family, by its name."""
    return {
        family.name: FORMS[family]() if family in FORMS else FamilyForm(family)
        for family in FAMILIES
    }
