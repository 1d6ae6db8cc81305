"""``napari-blindsr kernel``: the blur of one image."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from napari_blindsr.commands.blur_tables import field_table, report_of, summary, width_table
from napari_blindsr.commands.options import (
    FAMILY_NAMES,
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
    choose_family,
    parse_field,
)
from napari_blindsr.commands.outputs import KERNEL_SUFFIXES, REPORT_SUFFIXES, check_files
from napari_blindsr.errors import SettingsError
from napari_blindsr.settings import ONE_BLUR, Border, Geometry, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.pixelsize import PixelSize

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
    grid = parse_field(field)
    Settings(scale=scale, kernel=chosen, geometry=geometry, border=border, seed=seed, field=grid)
    if grid != ONE_BLUR and reader != "network":
        raise SettingsError(
            f"reader is {reader!r} and field is {field}; expected the reader 'network', whose "
            "uncertainty tells how far regions may differ"
        )
    from napari_blindsr import io, masks  # noqa: PLC0415

    loaded = io.read_image(image)
    covered = None if mask is None else masks.read_mask(mask)
    from napari_blindsr.blur import estimate_kernel  # noqa: PLC0415
    from napari_blindsr.field_blur import estimate_field  # noqa: PLC0415
    from napari_blindsr.pipeline import versions  # noqa: PLC0415

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
        )
    seconds = time.perf_counter() - start
    if kernel_out is not None:
        io.write_kernel(kernel_out, _kernels(found), force=force)
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
    from napari_blindsr.kernel_field import KernelField  # noqa: PLC0415

    if isinstance(found, KernelField):
        return [field_table(found, size)]
    return [summary(found), width_table(found, size)]


def _kernels(found: BlurEstimate | KernelField) -> NDArray[np.float32]:
    """Return the kernel, or the grid of them."""
    from napari_blindsr.kernel_field import KernelField  # noqa: PLC0415

    return found.kernels if isinstance(found, KernelField) else found.kernel


def _record(found: BlurEstimate | KernelField, size: PixelSize | None) -> dict[str, Any]:
    """Return what was found as plain JSON types."""
    from napari_blindsr.kernel_field import KernelField  # noqa: PLC0415

    if isinstance(found, KernelField):
        regions = [[report_of(blur, size) for blur in line] for line in found.blurs]
        return {**found.report(), "regions": regions}
    return report_of(found, size)
