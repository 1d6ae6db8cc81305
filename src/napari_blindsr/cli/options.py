"""What several commands share: options, file formats, and checks before the work."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_blindsr.errors import FileError, SettingsError
from napari_blindsr.images.atomic import check_output, check_suffix
from napari_blindsr.methods import METHODS, ScheduleName
from napari_blindsr.optics import Optics
from napari_blindsr.physics.kernels import (
    FAMILY_NAMES,
    Airy,
    Automatic,
    Disk,
    Gaussian,
    KernelFamily,
    Line,
    Motion,
)
from napari_blindsr.physics.kernels.base import check_range
from napari_blindsr.settings import FEWEST_RESTORATIONS, kernel_family
from napari_blindsr.types import SCALES, Precision, Quality

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


FAILED = 1
"""Exit code of a computation that did not come to its end."""
STOPPED = 3
"""Exit code of one that was asked to stop, and kept what there was."""

ScaleOption = Annotated[
    int, typer.Option("--scale", "-s", help=f"How many times finer, {SCALES[0]} to {SCALES[-1]}.")
]
MethodOption = Annotated[str, typer.Option(help=f"One of: {', '.join(METHODS)}.")]
QualityOption = Annotated[
    Quality,
    typer.Option(
        help="fast: the blur as a network reads it; refined: moved by the residual, seconds more."
    ),
]
ScheduleOption = Annotated[
    ScheduleName, typer.Option(help="Numbers and habits of the optimisation, if there is one.")
]
StepsOption = Annotated[
    int | None,
    typer.Option(
        help="Image steps of the optimisation; the phases scale with them.",
        show_default="the schedule's",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Of all random numbers.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
PrecisionOption = Annotated[Precision, typer.Option(help="In which the networks are evaluated.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads to compute with.")]
UncertaintyOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Find the standard deviation of each pixel from so many more restorations, "
        f"1 at least with the image prior, {FEWEST_RESTORATIONS} without; 0 finds none. Not where "
        "an optimisation would be repeated.",
    ),
]
FieldOption = Annotated[
    str,
    typer.Option(
        metavar="ROWSxCOLUMNS",
        help="Regions of the image that each have a blur of their own, such as 3x4; between their "
        "middles it is interpolated.",
        show_default="1x1, one blur for all",
    ),
]
UsrnetOption = Annotated[
    Path | None,
    typer.Option(
        help="File with USRNet's published weights; without it NAPARI_BLINDSR_USRNET or the "
        "cache, into which they are fetched once.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]

_PANEL = "Parameters of the kernel families"
_OPTICS_PANEL = "What is known of the microscope (narrows what the blur may be)"
Range = tuple[float, float]
SigmaOption = Annotated[
    Range | None,
    typer.Option(
        help="gaussian: standard deviation, in pixels of the fine grid.",
        metavar="LOW HIGH",
        rich_help_panel=_PANEL,
    ),
]
RadiusOption = Annotated[
    Range | None,
    typer.Option(
        help="disk: radius, in pixels of the fine grid.", metavar="LOW HIGH", rich_help_panel=_PANEL
    ),
]
LengthOption = Annotated[
    Range | None,
    typer.Option(
        help="line: length, in pixels of the fine grid.", metavar="LOW HIGH", rich_help_panel=_PANEL
    ),
]
ExtentOption = Annotated[
    Range | None,
    typer.Option(
        help="motion: largest distance from the middle, in pixels of the fine grid.",
        metavar="LOW HIGH",
        rich_help_panel=_PANEL,
    ),
]
PersistenceOption = Annotated[
    float | None,
    typer.Option(
        help="motion: for what part of the exposure the camera keeps its velocity.",
        metavar="NUMBER",
        rich_help_panel=_PANEL,
    ),
]
ApertureOption = Annotated[
    float | None,
    typer.Option(
        "--na",
        help="Numerical aperture of the objective.",
        metavar="NUMBER",
        rich_help_panel=_OPTICS_PANEL,
    ),
]
WavelengthOption = Annotated[
    float | None,
    typer.Option(
        "--emission",
        "--wavelength",
        help="Wavelength of the light, in nm.",
        metavar="NUMBER",
        rich_help_panel=_OPTICS_PANEL,
    ),
]
PixelSizeOption = Annotated[
    float | None,
    typer.Option(
        help="Side of a pixel of the coarse image at the specimen, in nm.",
        show_default="what the file says",
        metavar="NUMBER",
        rich_help_panel=_OPTICS_PANEL,
    ),
]
IndexOption = Annotated[
    float | None,
    typer.Option(
        help="airy: refractive index of the immersion medium.",
        metavar="NUMBER",
        rich_help_panel=_PANEL,
    ),
]
DefocusOption = Annotated[
    Range | None,
    typer.Option(
        help="airy: distance to the focal plane, in nm.", metavar="LOW HIGH", rich_help_panel=_PANEL
    ),
]


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """Parameters of kernel families as the command line takes them; None is not given."""

    sigma: Range | None = None
    radius: Range | None = None
    length: Range | None = None
    extent: Range | None = None
    persistence: float | None = None
    na: float | None = None
    wavelength: float | None = None
    pixel_size: float | None = None
    index: float | None = None
    defocus: Range | None = None

    def check(self, kernel: str) -> None:
        """Raise a `SettingsError` if a parameter is given that `kernel` does not have."""
        for field in fields(self):
            if field.name in OPTICS:
                continue
            owners = _OWNERS.get(field.name, ("airy",))
            if getattr(self, field.name) is not None and kernel not in owners:
                flag = f"--{field.name.replace('_', '-')}"
                raise SettingsError(
                    f"{flag} is a parameter of --kernel {owners[0]}; the kernel is {kernel!r}"
                )

    def optics(self, kernel: str) -> Optics:
        """Return what is given of a microscope; the family "airy" takes it for its own."""
        if kernel == Airy.name:
            return Optics()
        return Optics(
            numerical_aperture=self.na,
            emission_nm=self.wavelength,
            pixel_size_nm=self.pixel_size,
        )


OPTICS = ("na", "wavelength", "pixel_size")
"""Parameters that tell of a microscope, whatever the kernel family is."""

_OWNERS = {
    "sigma": ("gaussian", "auto"),
    "radius": ("disk",),
    "length": ("line",),
    "extent": ("motion",),
    "persistence": ("motion",),
}


def choose_kernel(kernel: str, given: FamilyOptions) -> KernelFamily | NDArray[Any]:
    """Return what --kernel stands for: a family, one kernel (K, K), or a grid (R, C, K, K).

    Parameters
    ----------
    kernel : str
        Name of a family, a folder of kernels to draw from, or a file with one.
    given : FamilyOptions

    Raises
    ------
    BlindSRError
        If it is none of these, or a parameter does not belong to it.
    """
    given.check(kernel)
    if kernel in FAMILY_NAMES:
        return _family(kernel, given)
    path = Path(kernel)
    if not path.exists():
        raise FileError(
            f"kernel is {kernel!r}; expected one of {list(FAMILY_NAMES)}, a file with a kernel, "
            "or a folder of kernels"
        )
    if path.is_dir():
        from napari_blindsr.physics.kernel_files import read_kernel_folder  # noqa: PLC0415

        return Motion(kernels=read_kernel_folder(path))
    from napari_blindsr.physics.kernel_files import check_kernels, read_kernel  # noqa: PLC0415

    return check_kernels(read_kernel(path))


def choose_family(kernel: str, given: FamilyOptions) -> KernelFamily:
    """Return what --kernel stands for where the kernel is what is looked for.

    Parameters
    ----------
    kernel : str
        Name of a family, or a folder of kernels to draw from.
    given : FamilyOptions

    Raises
    ------
    BlindSRError
        If it is neither, such as a file with one kernel, or a parameter does not belong to it.
    """
    if kernel not in FAMILY_NAMES and not Path(kernel).is_dir():
        known = Path(kernel).exists()
        raise SettingsError(
            f"kernel is {kernel!r}{', a file with a known kernel' if known else ''}; expected one "
            f"of {list(FAMILY_NAMES)} or a folder of kernels"
        )
    chosen = choose_kernel(kernel, given)
    assert isinstance(chosen, KernelFamily)
    return chosen


def _family(name: str, given: FamilyOptions) -> KernelFamily:
    match name:
        case "gaussian" | "auto" if given.sigma is not None:
            check_range("--sigma", given.sigma, least=0, strict=True)
            low, high = given.sigma
            family = Automatic if name == "auto" else Gaussian
            return family(variance=(low * low, high * high))
        case "disk":
            return Disk(radius=given.radius)
        case "line" if given.length is not None:
            check_range("--length", given.length, least=1)
            low, high = given.length
            # A bar of one pixel has no length to either side.
            return Line(half_length=((low - 1) / 2, (high - 1) / 2))
        case "motion":
            usual = Motion()
            return Motion(
                extent=given.extent, persistence=_first(given.persistence, usual.persistence)
            )
        case "airy":
            return _airy(given)
        case _:
            return kernel_family(name)


def _airy(given: FamilyOptions) -> Airy:
    usual = Airy()
    return Airy(
        numerical_aperture=_first(given.na, usual.numerical_aperture),
        wavelength=_first(given.wavelength, usual.wavelength),
        pixel_size=_first(given.pixel_size, usual.pixel_size),
        refractive_index=_first(given.index, usual.refractive_index),
        defocus=usual.defocus if given.defocus is None else given.defocus,
    )


def _first(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def parse_field(text: str) -> tuple[int, int]:
    """Return the rows and columns of regions that --field stands for, such as 3x4.

    Raises
    ------
    SettingsError
    """
    parts = text.lower().replace("×", "x").split("x")
    try:
        rows, columns = map(int, parts)
    except ValueError:
        raise SettingsError(
            f"field is {text!r}; expected rows and columns of regions, such as 3x4"
        ) from None
    return rows, columns


def number_or_auto(name: str, text: str) -> float | Literal["auto"]:
    """Return the value of an option that takes a number or "auto"."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise SettingsError(f"{name} is {text!r}; expected a number or 'auto'")
    return value


def check_distinct(paths: Sequence[Path | None]) -> None:
    """Raise a `FileError` if two paths, one of them to be written, are the same file."""
    # Unlike Path.resolve, this takes loops of links.
    resolved = [Path(os.path.realpath(path)) for path in paths if path is not None]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise FileError(f"cannot write {path}: it stands for two files at once")


IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
READ_SUFFIXES = (*IMAGE_SUFFIXES, ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
KERNEL_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
FLOAT_SUFFIXES = (".tif", ".tiff", ".npy")
MASK_SUFFIXES = (".png", ".tif", ".tiff")
REPORT_SUFFIXES = (".json",)


def check_files(
    *inputs: Path | None, outputs: Sequence[tuple[Path | None, Collection[str]]], force: bool
) -> None:
    """Check that everything can be written before anything is read.

    Parameters
    ----------
    *inputs : Path or None
        Images and masks that are read; None is not given.
    outputs : sequence of (Path or None, collection of str)
        Files to be written, and the extensions that each may have.
    force : bool
        Whether existing files may be replaced.

    Raises
    ------
    FileError
        Also if a file stands for two things at once.
    """
    for path, suffixes in outputs:
        if path is not None:
            check_output(path, suffixes=suffixes, force=force)
    for given in inputs:
        if given is not None:
            check_suffix(given, READ_SUFFIXES, "read")
    check_distinct([*inputs, *(path for path, _ in outputs)])
