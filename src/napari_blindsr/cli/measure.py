"""``napari-blindsr measure``: quality scores of an image, with a true image and without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from napari_blindsr.cli.options import (
    BorderOption,
    ForceOption,
    GeometryOption,
    QuietOption,
    check_files,
    error_console,
    flattened,
    print_tables,
    say,
)
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.images.atomic import check_suffix, replacing
from napari_blindsr.types import SCALES, Criterion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import PixelSize
    from napari_blindsr.metrics.measure import Measurement


CSV_SUFFIXES = (".csv",)
NANOMETRES = 1e9


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is known of an image; the fields are those of `metrics.MetricInputs`."""

    reference: Annotated[
        Path | None,
        typer.Option(help="The true image, of RESULT's size: PSNR, SSIM, NRMSE, MS-SSIM."),
    ] = None
    source: Annotated[
        Path | None,
        typer.Option(help="The image that RESULT was made from: RSP and RSE, resolution before."),
    ] = None
    kernel: Annotated[
        Path | None,
        typer.Option(
            help="The correlation kernel, as restore --kernel-out writes it: its widths and, with "
            "--source, the residual."
        ),
    ] = None
    true_kernel: Annotated[
        Path | None, typer.Option(help="The true kernel: kernel PSNR and e_k.")
    ] = None
    second: Annotated[
        Path | None,
        typer.Option(
            help="Another image of the same thing with independent noise, of RESULT's size: "
            "Fourier ring correlation."
        ),
    ] = None
    second_source: Annotated[
        Path | None, typer.Option(help="A second acquisition, of the size of --source.")
    ] = None
    geometry: GeometryOption = "camera"
    border: BorderOption = "extend"
    gain: Annotated[float, typer.Option(help="How bright --source is compared with RESULT.")] = 1.0
    noise: Annotated[
        float | None,
        typer.Option(help="Standard deviation of the noise in --source.", show_default="estimated"),
    ] = None
    crop: Annotated[
        int, typer.Option(help="Pixels left out at each border beside --reference.")
    ] = 0
    registers: Annotated[
        bool,
        typer.Option(
            "--register/--no-register",
            help="Align images with each other, to a fraction of a pixel.",
        ),
    ] = True
    fits_intensity: Annotated[
        bool,
        typer.Option(
            "--fit-intensity", help="Fit RESULT to the reference with a factor and an offset."
        ),
    ] = False
    data_range: Annotated[
        float | None,
        typer.Option(
            help="Range of intensities, for PSNR and SSIM.",
            show_default="255, or the reference's range",
        ),
    ] = None
    criterion: Annotated[Criterion, typer.Option(help="Threshold of Fourier ring correlation.")] = (
        "one-seventh"
    )
    pixel_size: Annotated[
        float | None,
        typer.Option(
            help="Side of RESULT's pixels at the specimen, in nm.",
            show_default="the pixel size in RESULT's file",
        ),
    ] = None
    numerical_aperture: Annotated[
        float | None, typer.Option("--na", help="Numerical aperture.")
    ] = None
    wavelength: Annotated[float | None, typer.Option(help="Emission wavelength, in nm.")] = None

    def read(self) -> dict[str, Any]:
        """Return the inputs, with the images and kernels instead of their files."""
        images = ("reference", "source", "second", "second_source")
        return {
            **vars(self),
            **{name: _image(getattr(self, name)) for name in images},
            "kernel": _kernel(self.kernel),
            "true_kernel": _kernel(self.true_kernel),
        }


@flattened
def measure(
    image: Annotated[
        Path,
        typer.Argument(metavar="RESULT", help="The image to measure: .png, .tif or .npy."),
    ],
    *,
    given: InputOptions,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            "-s",
            help=f"How many times finer RESULT is than --source, {SCALES[0]} to {SCALES[-1]}.",
            show_default="the ratio of their sizes",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Where the scores go, with definitions and caveats: .csv."),
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compute quality scores from the images you choose: fidelity, residual, resolution, kernel."""
    _check_options(given, scale)
    check_files(outputs=((csv, CSV_SUFFIXES),), force=force)
    from napari_blindsr.images import files  # noqa: PLC0415
    from napari_blindsr.metrics import MetricInputs  # noqa: PLC0415
    from napari_blindsr.metrics.measure import measure as measure_all  # noqa: PLC0415
    from napari_blindsr.metrics.measure import to_csv  # noqa: PLC0415

    loaded = files.read_image(image)
    own = square_pixel(loaded.pixel_size)
    size, notes = own if given.pixel_size is None else (given.pixel_size, ())
    evidence = MetricInputs(image=loaded.array, **{**given.read(), "pixel_size": size})
    if scale is not None and scale != evidence.scale:
        raise InputError(
            f"--scale is {scale}, but {image} has {evidence.scale} times the size of {given.source}"
        )
    scores = measure_all(evidence)
    if csv is not None:
        with replacing(csv, force=force) as stream:
            stream.write(to_csv(scores).encode())
    print_tables(table(image.name, scores))
    console = error_console(quiet=quiet)
    say(console, *(f"note: {note}" for note in (*loaded.notes, *notes)))
    if csv is not None:
        say(console, f"wrote {csv}")


def _check_options(given: InputOptions, scale: int | None) -> None:
    """Raise a `SettingsError` for options that do not go together."""
    if scale is not None and given.source is None:
        raise SettingsError("--scale relates RESULT to --source, which is not given")
    if scale is not None and scale not in SCALES:
        raise SettingsError(f"--scale is {scale}; expected {SCALES[0]} to {SCALES[-1]}")
    if (given.numerical_aperture is None) != (given.wavelength is None):
        one, missing = "--na", "--wavelength"
        if given.wavelength is not None:
            one, missing = missing, one
        raise SettingsError(f"{one} is given without {missing}; the diffraction limit needs both")


def square_pixel(size: PixelSize | None) -> tuple[float | None, tuple[str, ...]]:
    """Return the side of a pixel in nm, if its file has it, and notes about it."""
    from napari_blindsr.images.metadata import METRES  # noqa: PLC0415

    if size is None or size.unit not in METRES:
        return None, ()
    height, width = (NANOMETRES * METRES[size.unit] * side for side in (size.y, size.x))
    if abs(height - width) > 0.01 * width:
        return None, (
            f"pixels of {height:.4g} × {width:.4g} nm are not square, so lengths are in pixels",
        )
    return width, ()


def _image(path: Path | None) -> NDArray[Any] | None:
    from napari_blindsr.images.files import read_image  # noqa: PLC0415

    return None if path is None else read_image(path).array


def _kernel(path: Path | None) -> NDArray[Any] | None:
    if path is None:
        return None
    from napari_blindsr.physics.kernel_files import (  # noqa: PLC0415
        KERNEL_SUFFIXES,
        check_kernel,
        read_kernel,
    )

    check_suffix(path, KERNEL_SUFFIXES, "read")
    return check_kernel(read_kernel(path))


def table(name: str, measurements: Sequence[Measurement]) -> Table:
    """Return a table of the scores of an image."""
    physical = any(found.physical is not None for found in measurements)
    shown = Table(title=f"Quality of {escape(name)}", box=box.SIMPLE, title_justify="left")
    shown.add_column("")
    shown.add_column("value", justify="right", no_wrap=True)
    if physical:
        shown.add_column("nm", justify="right", no_wrap=True)
    shown.add_column("better is")
    shown.add_column("caveat", max_width=70)
    for found in measurements:
        metric = found.metric
        value = "–" if found.value is None else f"{found.value:.4g} {metric.unit}".strip()
        nanometres = "" if found.physical is None else f"{found.physical:.4g}"
        better = "" if metric.better == "neither" else metric.better
        shown.add_row(
            escape(metric.label),
            escape(value),
            *((nanometres,) if physical else ()),
            better,
            escape(found.reason or metric.caveat),
        )
    return shown
