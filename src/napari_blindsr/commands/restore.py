"""``napari-blindsr restore``: one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from napari_blindsr.commands.options import (
    FAILED,
    FAMILY_NAMES,
    ApertureOption,
    DefocusOption,
    DeviceOption,
    ExtentOption,
    FamilyOptions,
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
)
from napari_blindsr.commands.outputs import (
    FLOAT_SUFFIXES,
    IMAGE_SUFFIXES,
    KERNEL_SUFFIXES,
    MASK_SUFFIXES,
    REPORT_SUFFIXES,
    check_files,
)
from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.errors import SettingsError
from napari_blindsr.settings import (
    METHODS,
    Border,
    Finish,
    Geometry,
    Settings,
    method_named,
    plan_schedule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.io import LoadedImage
    from napari_blindsr.result import Result


def restore(
    image: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A grey or RGB image: .png, .tif or .npy.")
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where the result goes: .png, .tif or .npy."),
    ],
    scale: ScaleOption,
    method: MethodOption = METHODS[0],
    kernel: Annotated[
        str,
        typer.Option(
            metavar="FAMILY|FILE|FOLDER",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), a file with the known "
            "correlation kernel (.npy, .mat, .tif or .png), or a folder of kernels that the "
            "blur may resemble (.npy or .mat).",
        ),
    ] = "gaussian",
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
    """Restore one image.

    Ctrl-C ends the run and keeps the best state so far; twice drops it.
    """
    outputs = Outputs(
        image=output,
        kernel=kernel_out,
        mask=mask_out,
        uncertainty=uncertainty_out,
        report=report,
        force=force,
    )
    if (uncertainty > 0) != (uncertainty_out is not None):
        raise SettingsError(
            f"--uncertainty is {uncertainty} and --uncertainty-out is "
            f"{'missing' if uncertainty_out is None else 'given'}; expected both or none"
        )
    outputs.check(image, mask)
    chosen = choose_kernel(
        kernel,
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
        uncertainty=uncertainty,
    )
    # Reading comes before torch, which takes seconds to import.
    from napari_blindsr import io, masks  # noqa: PLC0415

    loaded = io.read_image(image)
    covered = None if mask is None else masks.read_mask(mask)
    io.check_image_type(output, loaded.array)
    from napari_blindsr.terminal import run  # noqa: PLC0415

    console = Console(stderr=True, quiet=quiet, highlight=False)
    result = run(
        loaded.array,
        settings,
        known=None if isinstance(chosen, KernelFamily) else chosen,
        mask=covered,
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


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written of a result, and where."""

    image: Path
    kernel: Path | None
    mask: Path | None
    uncertainty: Path | None
    report: Path | None
    force: bool

    @property
    def written(self) -> list[Path]:
        """The files, in the order in which they are written."""
        paths = (self.image, self.kernel, self.mask, self.uncertainty, self.report)
        return [path for path in paths if path is not None]

    def check(self, *inputs: Path | None) -> None:
        """Check that everything can be written before anything is read."""
        outputs = (
            (self.image, IMAGE_SUFFIXES),
            (self.kernel, KERNEL_SUFFIXES),
            (self.mask, MASK_SUFFIXES),
            (self.uncertainty, FLOAT_SUFFIXES),
            (self.report, REPORT_SUFFIXES),
        )
        check_files(*inputs, outputs=outputs, force=self.force)

    def write(self, result: Result, loaded: LoadedImage, console: Console) -> None:
        """Write what was asked for of a result."""
        import numpy as np  # noqa: PLC0415

        from napari_blindsr import io, masks  # noqa: PLC0415

        dtype, size = loaded.array.dtype, loaded.pixel_size
        clipped = io.write_image(
            self.image,
            result.image,
            dtype=dtype,
            pixel_size=None if size is None else size.divided(result.settings.scale),
            force=self.force,
        )
        if self.kernel is not None:
            io.write_kernel(self.kernel, result.kernel, force=self.force)
        if self.mask is not None:
            covered = result.covered
            if covered is None:
                covered = np.zeros(result.support.shape, dtype=bool)
            masks.write_mask(self.mask, covered, force=self.force)
        if self.uncertainty is not None and result.uncertainty is not None:
            io.write_image(
                self.uncertainty,
                result.uncertainty,
                dtype=result.uncertainty.dtype,
                pixel_size=None if size is None else size.divided(result.settings.scale),
                force=self.force,
            )
        if self.report is not None:
            io.write_report(self.report, result.report(), force=self.force)
        if clipped:
            console.print(
                f"clipped {clipped} of {result.support.size} pixels to the range of {dtype}; "
                ".tif and .npy keep them"
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
    if result.learned_priors:
        lines.append(f"trained networks that took part: {', '.join(result.learned_priors)}")
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f"{result.trace.size} steps and "
    lines.append(f"{result.reason} after {steps}{result.seconds:.0f} s; wrote {names}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    return FAILED if result.reason == "diverged" else 0
