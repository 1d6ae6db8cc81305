"""``napari-blindsr restore``: one image, or many files with any axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_blindsr.cli.inputs import (
    ClusterOptions,
    FileOptions,
    OutputOptions,
    PlaneOptions,
    parse_tile,
)
from napari_blindsr.cli.measure import square_pixel
from napari_blindsr.cli.options import (
    FAILED,
    STOPPED,
    BorderOption,
    FamilyOptions,
    FieldOption,
    ForceOption,
    GeometryOption,
    MethodOptions,
    QuietOption,
    ScaleOption,
    choose_kernel,
    error_console,
    flattened,
    number_or_auto,
    parse_field,
    say,
    warnings_of,
)
from napari_blindsr.cli.replay import check_files, read_command, recorded, take_options
from napari_blindsr.errors import FileError
from napari_blindsr.methods import method_named
from napari_blindsr.physics.kernels import FAMILY_NAMES, KernelFamily

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.restoration.result import Result


ImagesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Images or stacks: .tif, .ome.tif, .zarr, .npy, .png, .jpg; folders and patterns "
        "stand for the images in them.",
        show_default="that of --replay",
    ),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(
        metavar="REPORT",
        callback=take_options,
        is_eager=True,
        help="Repeat the run that wrote this report, .json, if its INPUT is still the same; "
        "options that are given replace those of the report.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ProblemOptions:
    """What is known of the image and its blur, and how the result is made."""

    tile: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto|none",
            help="Largest side of the tiles that large results are made in, in their pixels.",
        ),
    ] = "auto"
    scale: ScaleOption
    kernel: Annotated[
        str,
        typer.Option(
            metavar="FAMILY|FILE|FOLDER",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), a file with the known "
            "correlation kernel (.npy, .mat, .tif or .png) or with a grid of the kernels of "
            "regions (rows × columns × K × K; .npy or .tif), or a folder of kernels that the "
            "blur may resemble (.npy or .mat).",
        ),
    ] = "auto"
    field: FieldOption = "1x1"
    geometry: GeometryOption = "camera"
    border: BorderOption = "extend"
    bounded: Annotated[
        bool | None,
        typer.Option(
            "--bounded/--unbounded",
            help="Keep the result within the input's range, which a blurred input understates.",
            show_default="bounded for benchmark geometry alone",
        ),
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image that is nonzero where pixels are to be ignored; they are filled in. Not "
            "for MLMC."
        ),
    ] = None
    mask_saturated: Annotated[
        bool,
        typer.Option("--mask-saturated", help="Ignore saturated pixels. Not for MLMC."),
    ] = False
    gain: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto",
            help="How bright the input is compared with the result; below 1 for a dark one. "
            "Not for MLMC.",
        ),
    ] = "1"
    noise: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto",
            help="Standard deviation of the noise in the input's intensities. MLMC without a "
            "non-blind reconstruction ignores it.",
        ),
    ] = "0"

    def values(self) -> dict[str, Any]:
        """Return the settings that these options stand for, except the kernel's."""
        return {
            "scale": self.scale,
            "geometry": self.geometry,
            "border": self.border,
            "bounded": self.bounded,
            "gain": number_or_auto("gain", self.gain),
            "noise": number_or_auto("noise", self.noise),
            "mask_saturated": self.mask_saturated,
            "tile": parse_tile(self.tile),
            "field": parse_field(self.field),
        }

    def files(self, image: Path) -> dict[str, Path]:
        """Return the files that a run reads, by their names on the command line."""
        files = {"INPUT": image}
        if self.kernel not in FAMILY_NAMES:
            files["--kernel"] = Path(self.kernel)
        if self.mask is not None:
            files["--mask"] = self.mask
        return files

    def read_mask(self) -> NDArray[np.bool_] | None:
        """Return the pixels to be ignored, if they are given."""
        from napari_blindsr.images.files import read_mask  # noqa: PLC0415

        return None if self.mask is None else read_mask(self.mask)

    def read(self, image: Path, output: Path) -> tuple[LoadedImage, NDArray[np.bool_] | None]:
        """Return an image and its mask, before torch is imported, which takes seconds."""
        from napari_blindsr.images.files import read_image  # noqa: PLC0415
        from napari_blindsr.images.plain import check_image_type  # noqa: PLC0415

        loaded, mask = read_image(image), self.read_mask()
        check_image_type(output, loaded.array)
        return loaded, mask


@flattened
def restore(
    images: ImagesArgument = None,
    *,
    files: FileOptions,
    stack: PlaneOptions,
    problem: ProblemOptions,
    chosen: MethodOptions,
    processes: ClusterOptions,
    given: FamilyOptions,
    outputs: OutputOptions,
    replay: ReplayOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> int:
    """Restore an image, a stack, or many files.

    Ctrl-C ends the run and keeps the best state so far; twice drops it.
    """
    images = _chosen_images(images, replay)
    files.check(images)
    options = stack.stack_options()
    cluster = processes.cluster(chosen.threads)
    # A cluster restores one image as a stack of one plane.
    alone = files.single_image(images, options) if cluster is None else None
    if alone is None or files.output is None:
        outputs.check_none()
    else:
        outputs.check(files.output, alone, problem.mask, force=force)
    given = given.completed(problem.kernel, images)
    source = choose_kernel(problem.kernel, given)
    settings = chosen.settings(
        kernel=source if isinstance(source, KernelFamily) else "known",
        uncertainty=outputs.uncertainty,
        optics=given.optics(problem.kernel),
        **problem.values(),
    )
    known = None if isinstance(source, KernelFamily) else source
    console = error_console(quiet=quiet)
    if replay is not None:
        say(console, *_replayed(replay, images, problem))

    def about(image: Path) -> dict[str, Any]:
        groups = (files, stack, problem, chosen, processes, given, outputs)
        return {"command": recorded(problem.files(image), groups)}

    if alone is None or files.output is None:
        from napari_blindsr.cli.batch import restore_many  # noqa: PLC0415

        return restore_many(
            files.jobs(images, scale=problem.scale),
            settings,
            options,
            axes=files.axes,
            known=known,
            mask=problem.read_mask(),
            force=force,
            console=console,
            cluster=cluster,
            about=about,
        )
    loaded, mask = problem.read(alone, files.output)
    command = about(alone)
    from napari_blindsr.cli.terminal import run  # noqa: PLC0415

    result = run(
        loaded.array,
        replace(settings, optics=loaded.known_optics(settings.optics)),
        known=known,
        mask=mask,
        region=options.region,
        notes=loaded.notes,
        console=console,
    )
    written = outputs.write(
        files.output, result, loaded, about=command, force=force, console=console
    )
    return conclude(result, written, console, nanometres=square_pixel(loaded.pixel_size)[0])


def _chosen_images(images: list[Path] | None, replay: Path | None) -> list[Path]:
    """Return the INPUTs of a command: as given, or that of the report it repeats."""
    if images:
        return images
    if replay is None:
        raise FileError("no INPUT is given; expected images, stacks, folders, or --replay REPORT")
    return [Path(read_command(replay)["files"]["INPUT"]["path"])]


def _replayed(report: Path, images: list[Path], problem: ProblemOptions) -> list[str]:
    """Check that the files of a command are those of the report it repeats; returns notes."""
    if len(images) != 1:
        raise FileError(f"--replay repeats the run of one INPUT; received {len(images)}")
    return [f"note: {note}" for note in check_files(report, problem.files(images[0]))]


def conclude(
    result: Result, written: Sequence[Path], console: Console, *, nanometres: float | None = None
) -> int:
    """Print how a run ended; returns the exit code."""
    # The run has imported torch by now.
    from napari_blindsr.plugin.widgets.texts import details_of  # noqa: PLC0415

    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f"{result.trace.size} steps and "
    say(
        console,
        *(f"note: {note}" for note in result.notes),
        *warnings_of(result.flags),
        *details_of(result, nanometres),
        f"{result.reason} after {steps}{result.seconds:.0f} s; wrote "
        f"{', '.join(map(str, written))}",
    )
    return {"diverged": FAILED, "stopped": STOPPED}.get(str(result.reason), 0)
