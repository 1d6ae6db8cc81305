"""``napari-blindsr kernel``: the blur of one image."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_blindsr.commands.options import (
    FAMILY_NAMES,
    ApertureOption,
    DefocusOption,
    DeviceOption,
    ExtentOption,
    FamilyOptions,
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
    choose_family,
)
from napari_blindsr.commands.outputs import KERNEL_SUFFIXES, REPORT_SUFFIXES, check_files
from napari_blindsr.settings import Border, Geometry, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.pixelsize import PixelSize

# blur.Reader, whose module imports torch.
Reader = Literal["network", "spectrum"]

FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

READ_BY = {
    "network": "a trained network, the kernel estimator of this package",
    "spectrum": "the power spectrum alone, which knows no uncertainty and no families",
}


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
    ] = "gaussian",
    reader: Annotated[
        Reader,
        typer.Option(help="What reads the blur: a trained network, or the power spectrum alone."),
    ] = "network",
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
    chosen = choose_family(
        family,
        FamilyOptions(
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
        ),
    )
    # Checked before torch is imported, which takes seconds.
    Settings(scale=scale, kernel=chosen, geometry=geometry, border=border, seed=seed)
    from napari_blindsr import io, masks  # noqa: PLC0415

    loaded = io.read_image(image)
    covered = None if mask is None else masks.read_mask(mask)
    from napari_blindsr.blur import estimate_kernel  # noqa: PLC0415
    from napari_blindsr.pipeline import versions  # noqa: PLC0415

    start = time.perf_counter()
    estimate = estimate_kernel(
        loaded.array,
        scale=scale,
        kernel=chosen,
        reader=reader,
        geometry=geometry,
        border=border,
        mask=covered,
        seed=seed,
        device=device,
    )
    seconds = time.perf_counter() - start
    if kernel_out is not None:
        io.write_kernel(kernel_out, estimate.kernel, force=force)
    if report is not None:
        record = {
            **report_of(estimate, loaded.pixel_size),
            "settings": {
                "kernel": chosen.to_json(),
                "geometry": geometry,
                "border": border,
                "masked": mask is not None,
                "seed": seed,
                "device": device,
            },
            "notes": list(loaded.notes),
            "seconds": seconds,
            "versions": versions(),
        }
        io.write_report(report, record, force=force)
    notes = [f"note: {note}" for note in loaded.notes]
    names = [str(path) for path, _ in written if path is not None]
    if names:
        notes.append(f"wrote {', '.join(names)}")
    _say(image.name, estimate, loaded.pixel_size, notes=notes, quiet=quiet)


def _say(
    name: str,
    estimate: BlurEstimate,
    size: PixelSize | None,
    *,
    notes: Sequence[str],
    quiet: bool,
) -> None:
    out = Console(highlight=False)
    out.print(f"Blur of {name}, scale {estimate.scale}", markup=False, soft_wrap=True)
    for table in (summary(estimate), width_table(estimate, size)):
        if not out.is_terminal:
            # A file has no width.
            out.width = max(out.width, Console(width=1000).measure(table).maximum)
        out.print(table)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)


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
    from napari_blindsr.pixelsize import METRES  # noqa: PLC0415

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
