"""Tables and reports of what was read of a blur."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.pixelsize import PixelSize

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
