"""``napari-blindsr measure``: how good an image is, with a truth and without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_blindsr.cli.options import ForceOption, QuietOption, check_files
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.images.atomic import check_suffix, replacing
from napari_blindsr.types import SCALES, Border, Criterion, Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.metrics.measure import Measurement


CSV_SUFFIXES = (".csv",)
NANOMETRES = 1e9


def measure(
    image: Annotated[
        Path,
        typer.Argument(metavar="RESULT", help="The image that is measured: .png, .tif or .npy."),
    ],
    *,
    reference: Annotated[
        Path | None, typer.Option(help="The truth, of RESULT's size: PSNR, SSIM, NRMSE, MS-SSIM.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="The image that RESULT was made from: RSP and RSE, resolution before."),
    ] = None,
    kernel: Annotated[
        Path | None,
        typer.Option(
            help="The correlation kernel, as restore --kernel-out writes it: its widths and, with "
            "--source, the residual."
        ),
    ] = None,
    true_kernel: Annotated[
        Path | None, typer.Option(help="The true kernel: kernel PSNR and e_k.")
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            "-s",
            help=f"How many times finer RESULT is than --source, {SCALES[0]} to {SCALES[-1]}.",
            show_default="as their sizes say",
        ),
    ] = None,
    second: Annotated[
        Path | None,
        typer.Option(
            help="Another image of the same thing with independent noise, of RESULT's size: "
            "Fourier ring correlation."
        ),
    ] = None,
    second_source: Annotated[
        Path | None, typer.Option(help="A second acquisition, of the size of --source.")
    ] = None,
    geometry: Annotated[
        Geometry, typer.Option(help="Where coarse pixels lie on the fine grid.")
    ] = "camera",
    border: Annotated[Border, typer.Option(help="What lies beyond the borders.")] = "extend",
    gain: Annotated[float, typer.Option(help="How bright --source is compared with RESULT.")] = 1.0,
    noise: Annotated[
        float | None,
        typer.Option(help="Standard deviation of the noise in --source.", show_default="estimated"),
    ] = None,
    crop: Annotated[
        int, typer.Option(help="Pixels left out at each border beside --reference.")
    ] = 0,
    register: Annotated[
        bool,
        typer.Option(
            "--register/--no-register",
            help="Move images to where their partner lies, to a fraction of a pixel.",
        ),
    ] = True,
    fit_intensity: Annotated[
        bool,
        typer.Option(
            "--fit-intensity", help="Bring RESULT to the reference by a factor and an offset."
        ),
    ] = False,
    data_range: Annotated[
        float | None,
        typer.Option(
            help="What a peak is, for PSNR and SSIM.", show_default="255, or the reference's range"
        ),
    ] = None,
    criterion: Annotated[
        Criterion, typer.Option(help="Threshold of Fourier ring correlation.")
    ] = "one-seventh",
    pixel_size: Annotated[
        float | None,
        typer.Option(
            help="Side of RESULT's pixels at the specimen, in nm.",
            show_default="what RESULT's file says",
        ),
    ] = None,
    na: Annotated[float | None, typer.Option("--na", help="Numerical aperture.")] = None,
    wavelength: Annotated[float | None, typer.Option(help="Of the emission, in nm.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Where the values go, with definitions and caveats: .csv."),
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure an image by all that is given: fidelity, residual, resolution, kernel."""
    _check_options(scale=scale, source=source, na=na, wavelength=wavelength)
    check_files(outputs=((csv, CSV_SUFFIXES),), force=force)
    from napari_blindsr.images import files  # noqa: PLC0415
    from napari_blindsr.metrics import MetricInputs  # noqa: PLC0415
    from napari_blindsr.metrics.measure import measure as measure_all  # noqa: PLC0415
    from napari_blindsr.metrics.measure import to_csv  # noqa: PLC0415

    loaded = files.read_image(image)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    size, notes = (pixel_size, ()) if pixel_size is not None else _pixel_size(loaded)
    evidence = MetricInputs(
        image=loaded.array,
        reference=_image(reference),
        source=_image(source),
        kernel=_kernel(kernel),
        true_kernel=_kernel(true_kernel),
        second=_image(second),
        second_source=_image(second_source),
        geometry=geometry,
        border=border,
        gain=gain,
        noise=noise,
        pixel_size=size,
        numerical_aperture=na,
        wavelength=wavelength,
        registers=register,
        fits_intensity=fit_intensity,
        data_range=data_range,
        crop=crop,
        criterion=criterion,
    )
    if scale is not None and scale != evidence.scale:
        raise InputError(
            f"--scale is {scale}, but {image} has {evidence.scale} times the size of {source}"
        )
    found = measure_all(evidence)
    if csv is not None:
        with replacing(csv, force=force) as stream:
            stream.write(to_csv(found).encode())
    out = Console(highlight=False)
    shown = table(image.name, found)
    if not out.is_terminal:
        # A file has no width.
        out.width = max(out.width, Console(width=1000).measure(shown).maximum)
    out.print(shown)
    for note in (*loaded.notes, *notes):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if csv is not None:
        console.print(f"wrote {csv}", markup=False, soft_wrap=True)


def _check_options(
    *, scale: int | None, source: Path | None, na: float | None, wavelength: float | None
) -> None:
    """Raise a `SettingsError` for options that do not go together, before anything is read."""
    if scale is not None and source is None:
        raise SettingsError("--scale says how RESULT relates to --source, which is not given")
    if scale is not None and scale not in SCALES:
        raise SettingsError(f"--scale is {scale}; expected {SCALES[0]} to {SCALES[-1]}")
    if (na is None) != (wavelength is None):
        given, missing = (
            ("--na", "--wavelength") if wavelength is None else ("--wavelength", "--na")
        )
        raise SettingsError(f"{given} is given without {missing}; the diffraction limit needs both")


def _pixel_size(loaded: LoadedImage) -> tuple[float | None, tuple[str, ...]]:
    """Return the side of a pixel in nm, if the file tells one, and what to say about it."""
    from napari_blindsr.images.metadata import METRES  # noqa: PLC0415

    size = loaded.pixel_size
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
    """Return measurements as a table to be printed.

    Parameters
    ----------
    name : str
        Of the image.
    measurements : sequence of Measurement
    """
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
