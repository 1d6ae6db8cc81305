"""``napari-blindsr kernel``: estimates the blur of one image."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
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

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.images.metadata import PixelSize
    from napari_blindsr.physics.kernels import KernelFamily


# `estimation.estimate.Reader`, whose module imports torch.
Reader = Literal["network", "spectrum"]


@dataclass(frozen=True, kw_only=True)
class BlurOptions:
    """What is known of the image and its blur, and how the blur is estimated."""

    scale: ScaleOption
    family: Annotated[
        str,
        typer.Option(
            "--kernel",
            metavar="FAMILY|FOLDER",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), or a folder of "
            "kernels that it may resemble (.npy or .mat).",
        ),
    ] = "auto"
    reader: Annotated[
        Reader,
        typer.Option(
            help="What estimates the blur: a neural network, or the power spectrum alone."
        ),
    ] = "network"
    field: FieldOption = "1x1"
    geometry: GeometryOption = "camera"
    border: BorderOption = "extend"
    mask: Annotated[
        Path | None, typer.Option(help="Image that is nonzero where pixels are to be ignored.")
    ] = None
    seed: SeedOption = 0
    device: DeviceOption = "auto"

    def settings(self, family: KernelFamily) -> Settings:
        """Return the settings that these options stand for."""
        grid = parse_field(self.field)
        if grid != ONE_BLUR and self.reader != "network":
            raise SettingsError(
                f"reader is {self.reader!r} and field is {self.field}; expected the reader "
                "'network', whose uncertainty says how far regions may differ"
            )
        return Settings(
            scale=self.scale,
            kernel=family,
            geometry=self.geometry,
            border=self.border,
            seed=self.seed,
            device=self.device,
            field=grid,
        )


@flattened
def kernel(
    image: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A grey or RGB image: .png, .tif or .npy.")
    ],
    *,
    problem: BlurOptions,
    given: FamilyOptions,
    kernel_out: KernelOutOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Where a report of the estimate goes: .json.")
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate an image's blur, with confidence intervals, without restoring it."""
    outputs = ((kernel_out, KERNEL_SUFFIXES), (report, REPORT_SUFFIXES))
    check_files(image, problem.mask, outputs=outputs, force=force)
    # Checked before torch is imported, which takes seconds.
    given = given.completed(problem.family, [image])
    settings = problem.settings(choose_family(problem.family, given))
    from napari_blindsr.images.files import read_image, read_mask  # noqa: PLC0415
    from napari_blindsr.images.plain import write_report  # noqa: PLC0415
    from napari_blindsr.physics.kernel_files import write_kernel  # noqa: PLC0415

    loaded = read_image(image)
    optics = loaded.known_optics(given.optics(problem.family))
    shared = ("kernel", "geometry", "border", "seed", "device")
    options: dict[str, Any] = {name: getattr(settings, name) for name in ("scale", *shared)}
    options["mask"] = None if problem.mask is None else read_mask(problem.mask)
    options["optics"] = optics
    from napari_blindsr.restoration.restore import versions  # noqa: PLC0415

    start = time.perf_counter()
    kernels, record, tables = _estimated(loaded, settings.field, problem.reader, options)
    seconds = time.perf_counter() - start
    if kernel_out is not None:
        write_kernel(kernel_out, kernels, force=force)
    if report is not None:
        used = settings.to_json()
        record |= {
            "settings": {
                **{name: used[name] for name in (*shared, "field")},
                "masked": problem.mask is not None,
                "optics": optics.report(),
            },
            "notes": list(loaded.notes),
            "seconds": seconds,
            "versions": versions(),
        }
        write_report(report, record, force=force)
    print_tables(*tables, title=f"Blur of {image.name}, scale {problem.scale}")
    console = error_console(quiet=quiet)
    say(console, *(f"note: {note}" for note in loaded.notes))
    names = [str(path) for path, _ in outputs if path is not None]
    if names:
        say(console, f"wrote {', '.join(names)}")


def _estimated(
    loaded: LoadedImage, field: tuple[int, int], reader: Reader, options: dict[str, Any]
) -> tuple[NDArray[np.float32], dict[str, Any], list[Table]]:
    """Return the kernel of an image, or those of its regions, a report, and tables."""
    from napari_blindsr.estimation.estimate import estimate_kernel  # noqa: PLC0415
    from napari_blindsr.estimation.field import estimate_field  # noqa: PLC0415

    size = loaded.pixel_size
    if field == ONE_BLUR:
        blur = estimate_kernel(loaded.array, reader=reader, **options)
        return blur.kernel, report_of(blur, size), [summary(blur), width_table(blur, size)]
    regions = estimate_field(loaded.array, field=field, **options)
    by_region = [[report_of(blur, size) for blur in line] for line in regions.blurs]
    return regions.kernels, {**regions.report(), "regions": by_region}, [field_table(regions, size)]


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
