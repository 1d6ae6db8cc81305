"""What several commands share: options, checks before any work, and printing."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from rich.console import Console

from napari_blindsr.errors import FileError, SettingsError
from napari_blindsr.images.atomic import check_output, check_suffix
from napari_blindsr.methods import METHODS, ScheduleName, plan_schedule
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
from napari_blindsr.settings import Settings, kernel_family
from napari_blindsr.types import SCALES, Border, Finish, Geometry, Precision, Quality

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from rich.table import Table

    from napari_blindsr.restoration.diagnostics import Flag


FAILED = 1
"""Exit code of a computation that failed."""
STOPPED = 3
"""Exit code of a run that was stopped and kept its result so far."""

ScaleOption = Annotated[
    int, typer.Option("--scale", "-s", help=f"How many times finer, {SCALES[0]} to {SCALES[-1]}.")
]
MethodOption = Annotated[
    str,
    typer.Option(help=f"One of: {', '.join(METHODS)}.", autocompletion=lambda: list(METHODS)),
]
FieldOption = Annotated[
    str,
    typer.Option(
        metavar="ROWSxCOLUMNS",
        help="Regions of the image that each have a blur of their own, such as 3x4; between their "
        "centres the blur is interpolated.",
        show_default="1x1, one blur for the whole image",
    ),
]
GeometryOption = Annotated[Geometry, typer.Option(help="Where coarse pixels lie on the fine grid.")]
BorderOption = Annotated[Border, typer.Option(help="What lies beyond the borders.")]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
UsrnetOption = Annotated[
    Path | None,
    typer.Option(
        help="File with USRNet's published weights; without it NAPARI_BLINDSR_USRNET or the "
        "cache, into which they are fetched once.",
    ),
]
KernelOutOption = Annotated[
    Path | None, typer.Option(help="Where the kernel goes: .npy or .tif, or .png for viewing.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

Returned = TypeVar("Returned")


def flattened(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """Return a command that takes the fields of its dataclass parameters as options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            hint = hints[parameter.name]
            # Python 3.10 makes it optional where the default is None, and hides what is annotated.
            inside = [part for part in get_args(hint) if get_origin(part) is Annotated]
            parameters.append(parameter.replace(annotation=inside[0] if inside else hint))
            continue
        types = get_type_hints(group, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=types[field.name],
            )
            for field in fields(group)
        ]

    @wraps(command)
    def run(**values: Any) -> Returned:
        given = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """The method, its schedule, and how it computes."""

    method: MethodOption = METHODS[0]
    finish: Annotated[
        Finish | None,
        typer.Option(
            help="Non-blind reconstruction, once the kernel is known.",
            show_default="the method's own",
        ),
    ] = None
    usrnet_weights: UsrnetOption = None
    quality: Annotated[
        Quality,
        typer.Option(
            help="fast: the image prior restores the image once; refined: in four rotations, whose "
            "mean is a little nearer to the truth. Four times as long."
        ),
    ] = "fast"
    schedule: Annotated[
        ScheduleName, typer.Option(help="Schedule of the methods that optimise.")
    ] = "published"
    steps: Annotated[
        int | None,
        typer.Option(
            help="Image steps of the optimisation; the phases scale with them.",
            show_default="the schedule's",
        ),
    ] = None
    seed: SeedOption = 0
    device: DeviceOption = "auto"
    precision: Annotated[
        Precision, typer.Option(help="Number type in which the networks are evaluated.")
    ] = "auto"
    threads: Annotated[int | None, typer.Option(help="CPU threads to compute with.")] = None

    def settings(
        self, *, scale: int, kernel: KernelFamily | Literal["known"], **others: Any
    ) -> Settings:
        """Return the settings of a run with these options."""
        values: dict[str, Any] = {**vars(self), **others}
        weights = values["usrnet_weights"]
        values["usrnet_weights"] = None if weights is None else str(weights)
        values["schedule"] = plan_schedule(
            self.schedule,
            method=self.method,
            kernel=kernel if kernel == "known" else kernel.name,
            steps=values.pop("steps"),
        )
        return Settings(scale=scale, kernel=kernel, **values)


Range = tuple[float, float]


def _parameter(text: str, *, metavar: str = "LOW HIGH") -> Any:
    return typer.Option(
        help=text,
        metavar=metavar,
        rich_help_panel="Parameters of the kernel families",
    )


def _optical(text: str, *names: str, default: bool | str = True) -> Any:
    return typer.Option(
        *names,
        help=text,
        metavar="NUMBER",
        show_default=default,
        rich_help_panel="Optics of the microscope (they limit how narrow and wide the blur may be)",
    )


_OME = "what the OME metadata of a single INPUT say"


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """Parameters of kernel families, and the optics of a microscope; None is not given."""

    sigma: Annotated[
        Range | None, _parameter("gaussian: standard deviation, in pixels of the fine grid.")
    ] = None
    radius: Annotated[Range | None, _parameter("disk: radius, in pixels of the fine grid.")] = None
    length: Annotated[Range | None, _parameter("line: length, in pixels of the fine grid.")] = None
    extent: Annotated[
        Range | None,
        _parameter("motion: largest distance from the middle, in pixels of the fine grid."),
    ] = None
    persistence: Annotated[
        float | None,
        _parameter(
            "motion: for what part of the exposure the camera keeps its velocity.", metavar="NUMBER"
        ),
    ] = None
    na: Annotated[
        float | None,
        _optical("Numerical aperture of the objective; airy needs it.", "--na", default=_OME),
    ] = None
    wavelength: Annotated[
        float | None,
        _optical(
            "Emission wavelength, in nm; airy needs it.", "--emission", "--wavelength", default=_OME
        ),
    ] = None
    pixel_size: Annotated[
        float | None,
        _optical(
            "Side of a pixel of the coarse image at the specimen, in nm; airy needs it.",
            default="the file's pixel size",
        ),
    ] = None
    index: Annotated[
        float | None,
        _parameter("airy: refractive index of the immersion medium.", metavar="NUMBER"),
    ] = None
    defocus: Annotated[Range | None, _parameter("airy: distance to the focal plane, in nm.")] = None

    def check(self, kernel: str) -> None:
        """Raise a `SettingsError` if a parameter is given that `kernel` does not have."""
        for name, owners in _OWNERS.items():
            if getattr(self, name) is not None and kernel not in owners:
                raise SettingsError(
                    f"--{name} is a parameter of --kernel {owners[0]}; the kernel is {kernel!r}"
                )

    def optics(self, kernel: str) -> Optics:
        """Return the given optics; the family "airy" takes them as its own parameters."""
        return Optics() if kernel == Airy.name else self.known_optics

    @property
    def known_optics(self) -> Optics:
        """The optics that are given."""
        return Optics(
            numerical_aperture=self.na,
            emission_nm=self.wavelength,
            pixel_size_nm=self.pixel_size,
        )

    def completed(self, kernel: str, images: Sequence[Path]) -> FamilyOptions:
        """Return the options with the optics that a single INPUT says, if the kernel needs them."""
        if kernel != Airy.name or len(images) != 1:
            return self
        from napari_blindsr.images.files import file_optics  # noqa: PLC0415

        optics = self.known_optics.completed(file_optics(images[0]))
        return replace(
            self,
            na=optics.numerical_aperture,
            wavelength=optics.emission_nm,
            pixel_size=optics.pixel_size_nm,
        )


_OWNERS = {
    "sigma": ("gaussian", "auto"),
    "radius": ("disk",),
    "length": ("line",),
    "extent": ("motion",),
    "persistence": ("motion",),
    "index": ("airy",),
    "defocus": ("airy",),
}
"""The families that have a parameter; optics go with any."""


def choose_kernel(kernel: str, given: FamilyOptions) -> KernelFamily | NDArray[Any]:
    """Return the family, kernel (K, K) or grid of kernels (R, C, K, K) that --kernel names."""
    given.check(kernel)
    if kernel in FAMILY_NAMES:
        return _family(kernel, given)
    path = Path(kernel)
    if not path.exists():
        raise FileError(
            f"kernel is {kernel!r}; expected one of {list(FAMILY_NAMES)}, a file with a kernel, "
            "or a folder of kernels"
        )
    from napari_blindsr.physics.kernel_files import (  # noqa: PLC0415
        check_kernels,
        read_kernel,
        read_kernel_folder,
    )

    if path.is_dir():
        return Motion(kernels=read_kernel_folder(path))
    return check_kernels(read_kernel(path))


def choose_family(kernel: str, given: FamilyOptions) -> KernelFamily:
    """Return the family, or folder of kernels, that --kernel names; a known kernel is an error."""
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
            return Motion(**_given(extent=given.extent, persistence=given.persistence))
        case "airy":
            parameters = _given(refractive_index=given.index, defocus=given.defocus)
            return Airy.of(given.known_optics, **parameters)
        case _:
            return kernel_family(name)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def parsed(name: str, text: str, convert: Callable[[str], Returned], expected: str) -> Returned:
    """Return the value that the text of an option stands for, or raise a `SettingsError`."""
    try:
        return convert(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; expected {expected}") from None


def parse_field(text: str) -> tuple[int, int]:
    """Return the rows and columns of regions that --field names, such as 3x4."""

    def convert(text: str) -> tuple[int, int]:
        rows, columns = map(int, text.lower().replace("×", "x").split("x"))
        return rows, columns

    return parsed("field", text, convert, "rows and columns of regions, such as 3x4")


def number_or_auto(name: str, text: str) -> float | Literal["auto"]:
    """Return the value of an option that takes a number or "auto"."""

    def convert(text: str) -> float:
        value = float(text)
        if math.isnan(value):
            raise ValueError
        return value

    return "auto" if text == "auto" else parsed(name, text, convert, "a number or 'auto'")


IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
READ_SUFFIXES = (*IMAGE_SUFFIXES, ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
KERNEL_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
FLOAT_SUFFIXES = (".tif", ".tiff", ".npy")
MASK_SUFFIXES = (".png", ".tif", ".tiff")
REPORT_SUFFIXES = (".json",)


def check_files(
    *inputs: Path | None, outputs: Sequence[tuple[Path | None, Collection[str]]], force: bool
) -> None:
    """Raise a `FileError` unless all outputs, each with its allowed extensions, can be written."""
    for path, suffixes in outputs:
        if path is not None:
            check_output(path, suffixes=suffixes, force=force)
    for given in inputs:
        if given is not None:
            check_suffix(given, READ_SUFFIXES, "read")
    # Unlike Path.resolve, this takes loops of links.
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    for real in [os.path.realpath(path) for path, _ in outputs if path is not None]:
        if real in taken:
            raise FileError(f"cannot write {real}: two options name this file")
        taken.add(real)


def error_console(*, quiet: bool = False) -> Console:
    """Return the console of notes and progress."""
    return Console(stderr=True, quiet=quiet, highlight=False)


def say(console: Console, *lines: str) -> None:
    """Print lines as they are, without markup or line breaks."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def warnings_of(flags: Iterable[Flag]) -> list[str]:
    """Return a line for each flag: what was measured, what it means, and what to do."""
    return [f"warning: {flag.message}. {flag.meaning} {flag.advice}" for flag in flags]


def print_tables(*tables: Table, title: str | None = None) -> None:
    """Print tables on standard output; in a file they are as wide as they need to be."""
    console = Console(highlight=False)
    if title is not None:
        say(console, title)
    for table in tables:
        if not console.is_terminal:
            widest = Console(width=1000).measure(table).maximum
            console.width = max(console.width, widest)
        console.print(table)
