"""``napari-blindsr kernel``: estimates the blur of one image."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.table import Column, Table

from napari_blindsr.cli.options import (
    KERNEL_SUFFIXES,
    REPORT_SUFFIXES,
    BorderOption,
    DeviceOption,
    FamilyOptions,
    FieldOption,
    ForceOption,
    GeometryOption,
    KernelOutOption,
    QuietOption,
    ScaleOption,
    SeedOption,
    check_files,
    choose_family,
    error_console,
    flattened,
    parse_field,
    print_tables,
    say,
)
from napari_blindsr.errors import SettingsError
from napari_blindsr.physics.kernels import FAMILY_NAMES
from napari_blindsr.physics.kernels.base import FWHM
from napari_blindsr.settings import ONE_BLUR, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.metadata import PixelSize


# `estimation.estimate.Reader`, whose module imports torch.
Reader = Literal["network", "spectrum"]


@flattened
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
        typer.Option(
            help="What estimates the blur: a neural network, or the power spectrum alone."
        ),
    ] = "network",
    field: FieldOption = "1x1",
    geometry: GeometryOption = "camera",
    border: BorderOption = "extend",
    mask: Annotated[
        Path | None, typer.Option(help="Image that is nonzero where pixels are to be ignored.")
    ] = None,
    given: FamilyOptions,
    kernel_out: KernelOutOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Where a report of the estimate goes: .json.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate an image's blur, with confidence intervals, without restoring it."""
    outputs = ((kernel_out, KERNEL_SUFFIXES), (report, REPORT_SUFFIXES))
    check_files(image, mask, outputs=outputs, force=force)
    chosen = choose_family(family, given)
    # Checked before torch is imported, which takes seconds.
    grid = parse_field(field)
    Settings(scale=scale, kernel=chosen, geometry=geometry, border=border, seed=seed, field=grid)
    if grid != ONE_BLUR and reader != "network":
        raise SettingsError(
            f"reader is {reader!r} and field is {field}; expected the reader 'network', whose "
            "uncertainty says how far regions may differ"
        )
    from napari_blindsr.images.files import read_image, read_mask  # noqa: PLC0415
    from napari_blindsr.images.plain import write_report  # noqa: PLC0415
    from napari_blindsr.physics.kernel_files import write_kernel  # noqa: PLC0415

    loaded = read_image(image)
    size = loaded.pixel_size
    optics = loaded.known_optics(given.optics(family))
    options: dict[str, Any] = {
        "scale": scale,
        "kernel": chosen,
        "geometry": geometry,
        "border": border,
        "mask": None if mask is None else read_mask(mask),
        "seed": seed,
        "device": device,
        "optics": optics,
    }
    from napari_blindsr.estimation.estimate import estimate_kernel  # noqa: PLC0415
    from napari_blindsr.estimation.field import estimate_field  # noqa: PLC0415
    from napari_blindsr.restoration.restore import versions  # noqa: PLC0415

    start = time.perf_counter()
    if grid == ONE_BLUR:
        blur = estimate_kernel(loaded.array, reader=reader, **options)
        kernels, record = blur.kernel, report_of(blur, size)
        tables = [summary(blur), width_table(blur, size)]
    else:
        regions = estimate_field(loaded.array, field=grid, **options)
        by_region = [[report_of(blur, size) for blur in line] for line in regions.blurs]
        kernels, record = regions.kernels, {**regions.report(), "regions": by_region}
        tables = [field_table(regions, size)]
    seconds = time.perf_counter() - start
    if kernel_out is not None:
        write_kernel(kernel_out, kernels, force=force)
    if report is not None:
        record |= {
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
        write_report(report, record, force=force)
    print_tables(*tables, title=f"Blur of {image.name}, scale {scale}")
    console = error_console(quiet=quiet)
    say(console, *(f"note: {note}" for note in loaded.notes))
    names = [str(path) for path, _ in outputs if path is not None]
    if names:
        say(console, f"wrote {', '.join(names)}")


ESTIMATED_BY = {
    "network": "neural network, the kernel estimator of this package",
    "spectrum": "power spectrum alone, without uncertainty or families",
}


def field_table(field: KernelField, size: PixelSize | None) -> Table:
    """Return a table of the widths of each region's blur; without `size` there are none in µm."""
    first = field.blurs[0][0]
    physical = axes_in_micrometres(first, size) is not None
    units = ("LR pixels", *(("µm",) if physical else ()))
    widths = [f"{name}, {unit}" for name in ("longer", "shorter") for unit in units]
    table = Table(
        *_numbers("row", "column", *widths, "angle"),
        Column("blur", no_wrap=True),
        box=box.SIMPLE,
        pad_edge=False,
        caption_justify="left",
    )
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
        f"{side} × {side} fine pixels; estimated by: "
        f"{ESTIMATED_BY[first.reader]}"
    )
    return table


def summary(estimate: BlurEstimate) -> Table:
    """Return a table of everything but the widths."""
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
        ("estimated by", ESTIMATED_BY[estimate.reader]),
    ):
        table.add_row(*row)
    return table


def width_table(estimate: BlurEstimate, size: PixelSize | None) -> Table:
    """Return a table of the widths along both axes; without `size` there are none in µm."""
    scale = estimate.scale
    micrometres = axes_in_micrometres(estimate, size)
    known = not math.isnan(estimate.intervals[0][0])
    brackets = "in brackets: 90 % intervals" if known else "no intervals are known"
    table = Table(
        *(Column(heading, no_wrap=True) for heading in ("axis", "")),
        *_numbers("LR pixels", "fine pixels", *(() if micrometres is None else ("µm",))),
        box=box.SIMPLE,
        pad_edge=False,
        caption=f"SD: standard deviation; {brackets}",
        caption_justify="left",
    )
    for axis, name in enumerate(("longer", "shorter")):
        values = (estimate.widths[axis], *estimate.intervals[axis])
        for factor, label in ((1.0, "SD"), (FWHM, "FWHM")):
            units = [factor / scale, factor]
            if micrometres is not None:
                units.append(factor * micrometres[axis])
            cells = [_with_interval([unit * v for v in values]) for unit in units]
            table.add_row(name if factor == 1 else "", label, *cells)
    return table


def _numbers(*headings: str) -> list[Column]:
    return [Column(heading, justify="right", no_wrap=True) for heading in headings]


def _with_interval(values: Sequence[float]) -> str:
    """Return a width to three digits, and its interval to the same decimals."""
    decimals = max(0, 2 - math.floor(math.log10(values[0])))
    width, low, high = (f"{value:.{decimals}f}" for value in values)
    return width if math.isnan(values[1]) else f"{width} ({low}–{high})"


def axes_in_micrometres(
    estimate: BlurEstimate, size: PixelSize | None
) -> tuple[float, float] | None:
    """Return the length in µm of a fine pixel along both axes of a blur; None if unknown."""
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
    """Return an estimate as plain JSON types: lengths in fine pixels and, if known, in µm."""
    record = estimate.report()
    micrometres = axes_in_micrometres(estimate, size)
    record["widths_um"] = record["intervals_um"] = None
    if micrometres is not None:
        pairs = list(zip(micrometres, estimate.widths, estimate.intervals, strict=True))
        record["widths_um"] = [unit * width for unit, width, _ in pairs]
        if record["intervals"] is not None:
            record["intervals_um"] = [[unit * v for v in ends] for unit, _, ends in pairs]
    return record
