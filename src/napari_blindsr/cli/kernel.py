"""``napari-blindsr kernel``: the blur of one image, as a table and a report."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_blindsr.cli.options import (
    KERNEL_SUFFIXES,
    REPORT_SUFFIXES,
    ApertureOption,
    DefocusOption,
    DeviceOption,
    ExtentOption,
    FamilyOptions,
    FieldOption,
    ForceOption,
    IndexOption,
    LengthOption,
    PersistenceOption,
    PixelSizeOption,
    QuietOption,
    RadiusOption,
    ScaleOption,
    SeedOption,
    SigmaOption,
    WavelengthOption,
    check_files,
    choose_family,
    parse_field,
)
from napari_blindsr.errors import SettingsError
from napari_blindsr.physics.kernels import FAMILY_NAMES
from napari_blindsr.settings import ONE_BLUR, Settings
from napari_blindsr.types import Border, Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.metadata import PixelSize


# blur.Reader, whose module imports torch.
Reader = Literal["network", "spectrum"]


def kernel(
    image: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A grey or RGB image: .png, .tif or .npy.")
    ],
    *,
    scale: ScaleOption,
    family: Annotated[
        str,
        typer.Option(
            "--kernel",
            metavar="FAMILY|FOLDER",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), or a folder of "
            "kernels that it may resemble (.npy or .mat).",
        ),
    ] = "auto",
    reader: Annotated[
        Reader,
        typer.Option(help="What reads the blur: a trained network, or the power spectrum alone."),
    ] = "network",
    field: FieldOption = "1x1",
    geometry: Annotated[
        Geometry, typer.Option(help="Where coarse pixels lie on the fine grid.")
    ] = "camera",
    border: Annotated[Border, typer.Option(help="What lies beyond the borders.")] = "extend",
    mask: Annotated[
        Path | None, typer.Option(help="Image that is not zero where the input is covered.")
    ] = None,
    sigma: SigmaOption = None,
    radius: RadiusOption = None,
    length: LengthOption = None,
    extent: ExtentOption = None,
    persistence: PersistenceOption = None,
    na: ApertureOption = None,
    wavelength: WavelengthOption = None,
    pixel_size: PixelSizeOption = None,
    index: IndexOption = None,
    defocus: DefocusOption = None,
    kernel_out: Annotated[
        Path | None,
        typer.Option(help="Where the kernel goes: .npy or .tif, or .png for viewing."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where all that was found goes: .json.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell the blur of one image, and how sure it is; nothing is restored."""
    written = ((kernel_out, KERNEL_SUFFIXES), (report, REPORT_SUFFIXES))
    check_files(image, mask, outputs=written, force=force)
    given = FamilyOptions(
        sigma=sigma,
        radius=radius,
        length=length,
        extent=extent,
        persistence=persistence,
        na=na,
        wavelength=wavelength,
        pixel_size=pixel_size,
        index=index,
        defocus=defocus,
    )
    chosen = choose_family(family, given)
    # Checked before torch is imported, which takes seconds.
    grid = parse_field(field)
    Settings(scale=scale, kernel=chosen, geometry=geometry, border=border, seed=seed, field=grid)
    if grid != ONE_BLUR and reader != "network":
        raise SettingsError(
            f"reader is {reader!r} and field is {field}; expected the reader 'network', whose "
            "uncertainty tells how far regions may differ"
        )
    from napari_blindsr.images import files, plain  # noqa: PLC0415
    from napari_blindsr.physics import kernel_files  # noqa: PLC0415

    loaded = files.read_image(image)
    optics = loaded.known_optics(given.optics(family))
    covered = None if mask is None else files.read_mask(mask)
    from napari_blindsr.estimation.estimate import estimate_kernel  # noqa: PLC0415
    from napari_blindsr.estimation.field import estimate_field  # noqa: PLC0415
    from napari_blindsr.restoration.restore import versions  # noqa: PLC0415

    start = time.perf_counter()
    found: BlurEstimate | KernelField
    if grid == ONE_BLUR:
        found = estimate_kernel(
            loaded.array,
            scale=scale,
            kernel=chosen,
            reader=reader,
            geometry=geometry,
            border=border,
            mask=covered,
            seed=seed,
            device=device,
            optics=optics,
        )
    else:
        found = estimate_field(
            loaded.array,
            scale=scale,
            field=grid,
            kernel=chosen,
            geometry=geometry,
            border=border,
            mask=covered,
            seed=seed,
            device=device,
            optics=optics,
        )
    seconds = time.perf_counter() - start
    if kernel_out is not None:
        kernel_files.write_kernel(kernel_out, _kernels(found), force=force)
    if report is not None:
        record = {
            **_record(found, loaded.pixel_size),
            "settings": {
                "kernel": chosen.to_json(),
                "geometry": geometry,
                "border": border,
                "masked": mask is not None,
                "seed": seed,
                "device": device,
                "field": list(grid),
                "optics": optics.report(),
            },
            "notes": list(loaded.notes),
            "seconds": seconds,
            "versions": versions(),
        }
        plain.write_report(report, record, force=force)
    notes = [f"note: {note}" for note in loaded.notes]
    names = [str(path) for path, _ in written if path is not None]
    if names:
        notes.append(f"wrote {', '.join(names)}")
    _say(image.name, _tables(found, loaded.pixel_size), scale=scale, notes=notes, quiet=quiet)


def _say(
    name: str,
    tables: Sequence[Table],
    *,
    scale: int,
    notes: Sequence[str],
    quiet: bool,
) -> None:
    out = Console(highlight=False)
    out.print(f"Blur of {name}, scale {scale}", markup=False, soft_wrap=True)
    for table in tables:
        if not out.is_terminal:
            # A file has no width.
            out.width = max(out.width, Console(width=1000).measure(table).maximum)
        out.print(table)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)


def _tables(found: BlurEstimate | KernelField, size: PixelSize | None) -> list[Table]:
    """Return what was found as tables to be printed."""
    # Not before now: it imports torch.
    from napari_blindsr.estimation.kernel_field import KernelField  # noqa: PLC0415

    if isinstance(found, KernelField):
        return [field_table(found, size)]
    return [summary(found), width_table(found, size)]


def _kernels(found: BlurEstimate | KernelField) -> NDArray[np.float32]:
    """Return the kernel, or the grid of them."""
    from napari_blindsr.estimation.kernel_field import KernelField  # noqa: PLC0415

    return found.kernels if isinstance(found, KernelField) else found.kernel


def _record(found: BlurEstimate | KernelField, size: PixelSize | None) -> dict[str, Any]:
    """Return what was found as plain JSON types."""
    from napari_blindsr.estimation.kernel_field import KernelField  # noqa: PLC0415

    if isinstance(found, KernelField):
        regions = [[report_of(blur, size) for blur in line] for line in found.blurs]
        return {**found.report(), "regions": regions}
    return report_of(found, size)


FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

READ_BY = {
    "network": "a trained network, the kernel estimator of this package",
    "spectrum": "the power spectrum alone, which knows no uncertainty and no families",
}


def field_table(field: KernelField, size: PixelSize | None) -> Table:
    """Return the widths of the blur of each region as a table to be printed.

    Parameters
    ----------
    field : KernelField
        That was read off an image.
    size : PixelSize or None
        Of that image; None leaves out the widths in µm.
    """
    first = field.blurs[0][0]
    physical = axes_in_micrometres(first, size) is not None
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("row", "column"):
        table.add_column(heading, justify="right", no_wrap=True)
    units = ("LR pixels", *(("µm",) if physical else ()))
    for name in ("longer", "shorter"):
        for unit in units:
            table.add_column(f"{name}, {unit}", justify="right", no_wrap=True)
    table.add_column("angle", justify="right", no_wrap=True)
    table.add_column("blur", no_wrap=True)
    for row, column in field.places:
        blur = field.blurs[row][column]
        micrometres = axes_in_micrometres(blur, size)
        cells = []
        for axis in (0, 1):
            values = (blur.widths[axis], *blur.intervals[axis])
            factors = [1 / blur.scale]
            if micrometres is not None:
                factors.append(micrometres[axis])
            cells += [_with_interval([factor * v for v in values]) for factor in factors]
        angle = f"{math.degrees(blur.angle):.0f}°"
        table.add_row(str(row), str(column), *cells, angle, "found" if blur.found else "none found")
    side = field.size
    table.caption = (
        f"standard deviations; in brackets: 90 % intervals. Kernels: {first.family}, "
        f"{side} × {side} fine pixels; read by {READ_BY[first.reader]}"
    )
    table.caption_justify = "left"
    return table


def summary(estimate: BlurEstimate) -> Table:
    """Return all but the widths as a table to be printed: what is told, and its value."""
    found = "found" if estimate.found else "no blur found: as sharp as if it was never blurred"
    side = len(estimate.kernel)
    ranked = sorted(estimate.families.items(), key=lambda pair: -pair[1])
    probabilities = ", ".join(f"{name} {round(100 * value)} %" for name, value in ranked)
    table = Table.grid(padding=(0, 2))
    for row in (
        ("blur", found),
        ("kernel", f"{estimate.family}, {side} × {side} fine pixels"),
        # Rows run downwards.
        ("angle", f"{math.degrees(estimate.angle):.0f}° clockwise from the image's rows"),
        ("families", probabilities or "unknown"),
        ("read by", READ_BY[estimate.reader]),
    ):
        table.add_row(*row)
    return table


def width_table(estimate: BlurEstimate, size: PixelSize | None) -> Table:
    """Return the widths along both axes as a table to be printed.

    Parameters
    ----------
    estimate : BlurEstimate
    size : PixelSize or None
        Of the image that was read; None leaves out the widths in µm.
    """
    scale = estimate.scale
    micrometres = axes_in_micrometres(estimate, size)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("axis", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("LR pixels", "fine pixels", *(() if micrometres is None else ("µm",))):
        table.add_column(heading, justify="right", no_wrap=True)
    for axis, name in enumerate(("longer", "shorter")):
        values = (estimate.widths[axis], *estimate.intervals[axis])
        for factor, label in ((1.0, "SD"), (FWHM, "FWHM")):
            units = [factor / scale, factor]
            if micrometres is not None:
                units.append(factor * micrometres[axis])
            cells = [_with_interval([unit * v for v in values]) for unit in units]
            table.add_row(name if factor == 1 else "", label, *cells)
    known = not math.isnan(estimate.intervals[0][0])
    brackets = "in brackets: 90 % intervals" if known else "no intervals are known"
    table.caption = f"SD: standard deviation; {brackets}"
    table.caption_justify = "left"
    return table


def _with_interval(values: Sequence[float]) -> str:
    """Return a width to three digits, and its interval to the same decimals."""
    decimals = max(0, 2 - math.floor(math.log10(values[0])))
    width, low, high = (f"{value:.{decimals}f}" for value in values)
    return width if math.isnan(values[1]) else f"{width} ({low}–{high})"


def axes_in_micrometres(
    estimate: BlurEstimate, size: PixelSize | None
) -> tuple[float, float] | None:
    """Return the length in µm of a fine pixel along both axes of a blur.

    Parameters
    ----------
    estimate : BlurEstimate
    size : PixelSize or None
        Of the image that was read.

    Returns
    -------
    tuple of float, or None
        None if the size is unknown or in no unit of length.
    """
    from napari_blindsr.images.metadata import METRES  # noqa: PLC0415

    if size is None or size.unit not in METRES:
        return None
    unit = 1e6 * METRES[size.unit] / estimate.scale
    cos, sin = math.cos(estimate.angle), math.sin(estimate.angle)
    # A pixel may be higher than it is wide.
    return (
        unit * math.hypot(size.y * sin, size.x * cos),
        unit * math.hypot(size.y * cos, size.x * sin),
    )


def report_of(estimate: BlurEstimate, size: PixelSize | None) -> dict[str, Any]:
    """Return what was found as plain JSON types: lengths in fine pixels and, if known, in µm."""
    record = estimate.report()
    micrometres = axes_in_micrometres(estimate, size)
    record["widths_um"] = record["intervals_um"] = None
    if micrometres is not None:
        pairs = list(zip(micrometres, estimate.widths, estimate.intervals, strict=True))
        record["widths_um"] = [unit * width for unit, width, _ in pairs]
        if record["intervals"] is not None:
            record["intervals_um"] = [[unit * v for v in ends] for unit, _, ends in pairs]
    return record
