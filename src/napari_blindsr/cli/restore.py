"""``napari-blindsr restore``: one image, or many files with any axes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from napari_blindsr.cli.inputs import (
    Ask,
    DaskOption,
    FileFormat,
    WorkersOption,
    parse_roi,
    parse_tile,
)
from napari_blindsr.cli.options import (
    FAILED,
    STOPPED,
    ApertureOption,
    DefocusOption,
    DeviceOption,
    ExtentOption,
    FamilyOptions,
    FieldOption,
    ForceOption,
    IndexOption,
    LengthOption,
    MethodOption,
    PersistenceOption,
    PixelSizeOption,
    PrecisionOption,
    QualityOption,
    QuietOption,
    RadiusOption,
    ScaleOption,
    ScheduleOption,
    SeedOption,
    SigmaOption,
    StepsOption,
    ThreadsOption,
    UncertaintyOption,
    UsrnetOption,
    WavelengthOption,
    choose_kernel,
    number_or_auto,
    parse_field,
)
from napari_blindsr.cli.outputs import Outputs
from napari_blindsr.errors import SettingsError
from napari_blindsr.methods import METHODS, method_named, plan_schedule
from napari_blindsr.physics.kernels import FAMILY_NAMES, KernelFamily
from napari_blindsr.settings import Settings
from napari_blindsr.stacks.dask_client import ClusterChoice
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.types import Border, Finish, Geometry, OutputType, Sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.restoration.result import Result


def restore(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Images or stacks: .tif, .ome.tif, .zarr, .npy or .png; folders and patterns "
            "stand for the images in them.",
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where the result of one INPUT goes: .png, .tif, .zarr or .npy."
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-d",
            help="Folder for the results of all INPUTs, with kernels and reports; what is "
            "finished there is skipped.",
        ),
    ] = None,
    file_format: Annotated[
        FileFormat,
        typer.Option("--format", help="Of the results in --output-dir; same is that of the INPUT."),
    ] = "same",
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of the INPUT, a letter each, such as TCYX; S stands for RGB.",
            show_default="what the file says",
        ),
    ] = None,
    series: Annotated[
        int | None,
        typer.Option(
            help="Which image of an INPUT with several, from 0; without it such a file is refused "
            "with the list of its images.",
            min=0,
            show_default="the only one",
        ),
    ] = None,
    planes: Annotated[
        str | None,
        typer.Option(
            help="Planes to restore, such as T=0:10,C=1.", show_default="all", metavar="AXIS=…"
        ),
    ] = None,
    kernels: Annotated[
        Sharing,
        typer.Option(
            help="Which planes share a kernel: none, those of one channel, or all of them."
        ),
    ] = "channel",
    warm_start: Annotated[
        bool,
        typer.Option(
            "--warm-start",
            help="MLMC and DDSR begin a plane with what the one before it in time, or in depth, "
            "has ended with, and take a third of the steps; fast, with --kernels plane, steadies "
            "the readings of such planes by each other.",
        ),
    ] = False,
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS,COLUMNS",
            help="Region to restore, in pixels of the INPUT, such as 100:200,50:150.",
        ),
    ] = None,
    dtype: Annotated[
        OutputType,
        typer.Option(help="Of the results: float32, or that of the source, rounded and clipped."),
    ] = "float32",
    tile: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto|none",
            help="Largest side of the tiles that large results are made in, in their pixels.",
        ),
    ] = "auto",
    scale: ScaleOption,
    method: MethodOption = METHODS[0],
    kernel: Annotated[
        str,
        typer.Option(
            metavar="FAMILY|FILE|FOLDER",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), a file with the known "
            "correlation kernel (.npy, .mat, .tif or .png) or with a grid of the kernels of "
            "regions (rows × columns × K × K; .npy or .tif), or a folder of kernels that the "
            "blur may resemble (.npy or .mat).",
        ),
    ] = "auto",
    field: FieldOption = "1x1",
    geometry: Annotated[
        Geometry, typer.Option(help="Where coarse pixels lie on the fine grid.")
    ] = "camera",
    border: Annotated[Border, typer.Option(help="What lies beyond the borders.")] = "extend",
    bounded: Annotated[
        bool | None,
        typer.Option(
            "--bounded/--unbounded",
            help="Keep the result within the input's range, which a blurred input understates.",
            show_default="bounded for benchmark geometry alone",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Image that is not zero where the input is covered. Not for MLMC."),
    ] = None,
    mask_saturated: Annotated[
        bool,
        typer.Option("--mask-saturated", help="Take saturated pixels for covered. Not for MLMC."),
    ] = False,
    gain: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto",
            help="How bright the input is compared with the result; below 1 for a dark one. "
            "Not for MLMC.",
        ),
    ] = "1",
    noise: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto",
            help="Standard deviation of the noise in the input's intensities. MLMC without a "
            "finish ignores it.",
        ),
    ] = "0",
    finish: Annotated[
        Finish | None,
        typer.Option(
            help="What follows once the kernel is known.", show_default="the method's own"
        ),
    ] = None,
    usrnet_weights: UsrnetOption = None,
    quality: QualityOption = "fast",
    schedule: ScheduleOption = "published",
    steps: StepsOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
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
    mask_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the mask of the filled-in pixels of the result goes, 255 where filled "
            "in: .png or .tif."
        ),
    ] = None,
    uncertainty: UncertaintyOption = 0,
    uncertainty_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the standard deviation of each pixel goes, in the input's intensities: "
            ".tif or .npy."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where a report of the run goes: .json.")
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> int:
    """Restore an image, a stack, or many files.

    Ctrl-C ends the run and keeps the best state so far; twice drops it.
    """
    if (uncertainty > 0) != (uncertainty_out is not None):
        raise SettingsError(
            f"--uncertainty is {uncertainty} and --uncertainty-out is "
            f"{'missing' if uncertainty_out is None else 'given'}; expected both or none"
        )
    ask = Ask(images=images, output=output, folder=output_dir, axes=axes, mask=mask, series=series)
    options = StackOptions(
        kernels=kernels,
        planes=planes,
        region=None if roi is None else parse_roi(roi),
        dtype=dtype,
        warm_start=warm_start,
    )
    cluster: ClusterChoice | None = None
    if workers is not None or dask is not None:
        cluster = ClusterChoice(workers=workers, address=dask, threads=threads)
    # A cluster takes one image for a stack of one plane.
    alone = ask.single_image(options) if cluster is None else None
    outputs: Outputs | None = None
    if alone is not None:
        assert output is not None
        outputs = Outputs(
            image=output,
            kernel=kernel_out,
            mask=mask_out,
            uncertainty=uncertainty_out,
            report=report,
            force=force,
        )
        outputs.check(alone, mask)
    else:
        ask.check_many(
            kernel_out=kernel_out,
            mask_out=mask_out,
            uncertainty_out=uncertainty_out,
            report=report,
        )
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
    chosen = choose_kernel(kernel, given)
    settings = Settings(
        scale=scale,
        method=method,
        kernel=chosen if isinstance(chosen, KernelFamily) else "known",
        geometry=geometry,
        border=border,
        bounded=bounded,
        gain=number_or_auto("gain", gain),
        noise=number_or_auto("noise", noise),
        mask_saturated=mask_saturated,
        finish=finish,
        usrnet_weights=None if usrnet_weights is None else str(usrnet_weights),
        quality=quality,
        schedule=plan_schedule(
            schedule,
            method=method,
            kernel=chosen.name if isinstance(chosen, KernelFamily) else "known",
            steps=steps,
        ),
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
        tile=parse_tile(tile),
        uncertainty=uncertainty,
        field=parse_field(field),
        optics=given.optics(kernel),
    )
    # Reading comes before torch, which takes seconds to import.
    from napari_blindsr.images import files, plain  # noqa: PLC0415

    known = None if isinstance(chosen, KernelFamily) else chosen
    console = Console(stderr=True, quiet=quiet, highlight=False)
    if alone is None or outputs is None:
        from napari_blindsr.cli.batch import restore_many  # noqa: PLC0415

        return restore_many(
            ask.jobs(scale=scale, file_format=file_format),
            settings,
            options,
            axes=axes,
            known=known,
            mask=None if mask is None else files.read_mask(mask),
            force=force,
            console=console,
            cluster=cluster,
        )
    loaded = files.read_image(alone)
    settings = replace(settings, optics=loaded.known_optics(settings.optics))
    covered = None if mask is None else files.read_mask(mask)
    plain.check_image_type(outputs.image, loaded.array)
    from napari_blindsr.cli.terminal import run  # noqa: PLC0415

    result = run(
        loaded.array,
        settings,
        known=known,
        mask=covered,
        region=options.region,
        notes=loaded.notes,
        console=console,
    )
    outputs.write(result, loaded, console)
    written = [
        path
        for path in outputs.written
        # A run that is stopped early has none.
        if path != uncertainty_out or result.uncertainty is not None
    ]
    return conclude(result, written, console)


def field_line(field: KernelField) -> str:
    """Return how wide the blur of an image's regions is, in one line."""
    # What imports torch is loaded by the run by now.
    from napari_blindsr.restoration.evidence import kernel_widths  # noqa: PLC0415

    widths = [math.prod(kernel_widths(field.kernels[place])) ** 0.5 for place in field.places]
    rows, columns = field.shape
    return (
        f"blur of {rows} × {columns} regions: standard deviations from {min(widths):.2f} to "
        f"{max(widths):.2f} pixels of the result"
    )


def conclude(result: Result, written: Sequence[Path], console: Console) -> int:
    """Say how a run ended; returns the exit code."""
    lines = [f"note: {note}" for note in result.notes]
    lines += [f"caution: {f.message}. {f.meaning} {f.advice}" for f in result.flags]
    if result.settings.gain == "auto":
        lines.append(f"gain {result.gain:.3g} (estimated)")
    if result.settings.noise == "auto":
        lines.append(f"noise {result.noise:.3g} (estimated)")
    names = ", ".join(map(str, written))
    if result.blur is not None:
        widths = " and ".join(
            f"{width:.2f} ({low:.2f}–{high:.2f})"
            for width, (low, high) in zip(result.blur.widths, result.blur.intervals, strict=True)
        )
        lines.append(f"blur: standard deviations {widths} pixels of the result")
    if result.field is not None:
        lines.append(field_line(result.field))
    if result.learned_priors:
        lines.append(f"trained networks that took part: {', '.join(result.learned_priors)}")
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f"{result.trace.size} steps and "
    lines.append(f"{result.reason} after {steps}{result.seconds:.0f} s; wrote {names}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    return {"diverged": FAILED, "stopped": STOPPED}.get(str(result.reason), 0)
