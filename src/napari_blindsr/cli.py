"""The command line. Libraries that are slow to import are imported by what needs them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from napari_blindsr.engine.kernels import FAMILIES
from napari_blindsr.errors import BlindSRError, EngineError, FileError
from napari_blindsr.files import check_output, check_suffix
from napari_blindsr.settings import (
    METHODS,
    SCALES,
    Border,
    Geometry,
    Precision,
    Schedule,
    ScheduleName,
    Settings,
    kernel_family,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.result import Result
    from napari_blindsr.samples import Sample

FAMILY_NAMES = tuple(family.name for family in FAMILIES)
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
KERNEL_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
BAD_INPUT, FAILED, ABORTED = 2, 1, 130

# typer's own base of usage errors has moved between its versions; this public child has not.
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="napari-blindsr",
    help="Blind super-resolution: estimate the blur and a finer image from one image.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"napari-blindsr {version('napari-blindsr')}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Blind super-resolution: estimate the blur and a finer image from one image."""


@app.command()
def restore(
    image: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A grey or RGB image: .png, .tif or .npy.")
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where the result goes: .png, .tif or .npy."),
    ],
    scale: Annotated[
        int,
        typer.Option("--scale", "-s", help=f"How many times finer, {SCALES[0]} to {SCALES[-1]}."),
    ],
    method: Annotated[str, typer.Option(help=f"One of: {', '.join(METHODS)}.")] = METHODS[0],
    kernel: Annotated[
        str,
        typer.Option(
            metavar="FAMILY|FILE",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), or a file with the "
            "known correlation kernel: .npy, .mat, .tif or .png.",
        ),
    ] = "gaussian",
    geometry: Annotated[
        Geometry, typer.Option(help="Where coarse pixels lie on the fine grid.")
    ] = "camera",
    border: Annotated[Border, typer.Option(help="What lies beyond the borders.")] = "extend",
    schedule: Annotated[
        ScheduleName, typer.Option(help="Numbers and habits of the optimisation.")
    ] = "published",
    steps: Annotated[
        int | None, typer.Option(help="Image steps; the phases scale with them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="In which the networks are evaluated.")
    ] = "auto",
    bounded: Annotated[
        bool | None,
        typer.Option(
            "--bounded/--unbounded",
            help="Keep the result within the input's range, which a blurred input understates.",
            show_default="bounded for benchmark geometry alone",
        ),
    ] = None,
    kernel_out: Annotated[
        Path | None,
        typer.Option(help="Where the kernel goes: .npy or .tif, or .png for viewing."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where a report of the run goes: .json.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> int:
    """Restore one image.

    Ctrl-C ends the run and keeps the best state so far; twice drops it.
    """
    _check_outputs(image, output, kernel_out, report, force=force)
    numbers = Schedule.named(schedule)
    is_family = kernel in FAMILY_NAMES
    settings = Settings(
        scale=scale,
        method=method,
        kernel=kernel_family(kernel) if is_family else "known",
        geometry=geometry,
        border=border,
        bounded=bounded,
        schedule=numbers if steps is None else numbers.scaled(steps),
        seed=seed,
        device=device,
        precision=precision,
    )
    # Reading comes before torch, which takes seconds to import.
    from napari_blindsr import io  # noqa: PLC0415

    known = None if is_family else _read_known(kernel)
    loaded = io.read_image(image)
    io.check_image_type(output, loaded.array)
    from napari_blindsr.terminal import run  # noqa: PLC0415

    console = Console(stderr=True, quiet=quiet, highlight=False)
    result = run(loaded.array, settings, known=known, notes=loaded.notes, console=console)
    size = loaded.pixel_size.divided(scale) if loaded.pixel_size is not None else None
    clipped = io.write_image(
        output, result.image, dtype=loaded.array.dtype, pixel_size=size, force=force
    )
    if kernel_out is not None:
        io.write_kernel(kernel_out, result.kernel, force=force)
    if report is not None:
        io.write_report(report, result.report(), force=force)
    if clipped:
        count = result.image.shape[0] * result.image.shape[1]
        console.print(
            f"clipped {clipped} of {count} pixels to the range of {loaded.array.dtype}; "
            ".tif and .npy keep them"
        )
    return _conclude(result, [output, kernel_out, report], console)


def _conclude(result: Result, written: Sequence[Path | None], console: Console) -> int:
    """Say how a run ended; returns the exit code."""
    names = ", ".join(str(path) for path in written if path is not None)
    console.print(
        f"{result.reason} after {result.trace.size} steps and {result.seconds:.0f} s; "
        f"wrote {names}",
        markup=False,
        soft_wrap=True,
    )
    return FAILED if result.reason == "diverged" else 0


@app.command()
def demo(
    *,
    method: Annotated[str, typer.Option(help=f"One of: {', '.join(METHODS)}.")] = METHODS[0],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the picture; one of an earlier demonstration is replaced.",
        ),
    ] = Path("napari-blindsr-demo"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    viewer: Annotated[
        bool, typer.Option("--viewer/--no-viewer", help="Open napari at the end, if possible.")
    ] = True,
) -> int:
    """Restore a bundled sample whose truth is known, within minutes.

    Prints scores, writes a picture and opens napari.
    """
    # Checked before torch is imported, and before a folder is made.
    Settings(scale=SCALES[0], method=method)
    picture = output / "comparison.png"
    _make_folder(output)
    check_output(picture, suffixes=(".png",), force=True)
    from napari_blindsr.demo import (  # noqa: PLC0415
        demo_sample,
        demo_scores,
        demo_settings,
        side_by_side,
    )
    from napari_blindsr.io import write_image  # noqa: PLC0415
    from napari_blindsr.terminal import run, score_table  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    sample = demo_sample()
    result = run(sample.image, demo_settings(sample, method, device=device), console=console)
    Console(highlight=False).print(score_table(demo_scores(sample, result)))
    write_image(picture, side_by_side(sample, result), dtype="uint8", force=True)
    code = _conclude(result, [picture], console)
    if viewer:
        _show(sample, result, console)
    return code


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error


def _show(sample: Sample, result: Result, console: Console) -> None:
    from napari_blindsr._napari.show import open_viewer, why_not  # noqa: PLC0415

    reason = why_not()
    if reason is not None:
        console.print(f"napari is not opened: {reason}", markup=False)
        return
    open_viewer(sample, result)


def _check_outputs(
    image: Path, output: Path, kernel_out: Path | None, report: Path | None, *, force: bool
) -> None:
    """Check that everything can be written before anything is read."""
    check_output(output, suffixes=IMAGE_SUFFIXES, force=force)
    if kernel_out is not None:
        check_output(kernel_out, suffixes=KERNEL_SUFFIXES, force=force)
    if report is not None:
        check_output(report, suffixes=(".json",), force=force)
    check_suffix(image, IMAGE_SUFFIXES, "read")
    paths = [path.resolve() for path in (image, output, kernel_out, report) if path is not None]
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise FileError(f"cannot write {path}: it stands for two files at once")


def _read_known(kernel: str) -> NDArray[Any]:
    from napari_blindsr import io  # noqa: PLC0415
    from napari_blindsr.arrays import check_kernel  # noqa: PLC0415

    if not Path(kernel).exists():
        raise FileError(
            f"kernel is {kernel!r}; expected one of {list(FAMILY_NAMES)} or a file with a kernel"
        )
    return check_kernel(io.read_kernel(kernel))


def main() -> None:
    """Run the command line; exit code 2 for bad input, 1 for a failure of the computation."""
    # What is wrong with a file is said in one line of our own.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        code = _fail(_usage_message(error), BAD_INPUT)
    except EngineError as error:
        code = _fail(str(error), FAILED)
    except BlindSRError as error:
        code = _fail(str(error), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = ABORTED
    # Some versions of typer turn an interrupt into this code.
    if code == ABORTED:
        _fail("aborted; nothing was written", ABORTED)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_message(error: Exception) -> str:
    message = str(getattr(error, "format_message", error.__str__)())
    # Of values of the wrong type typer tells what is expected, but not what came.
    problems: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    received = problems[0].get("input") if problems else None
    return message if received is None else f"{message} (received {received!r})"


def _fail(message: str, code: int) -> int:
    """Say on one line what went wrong."""
    line = " ".join(message.split())
    sys.stderr.write(f"napari-blindsr: error: {line}\n")
    return code


if __name__ == "__main__":
    main()
