"""The command line. Libraries that are slow to import are imported by what needs them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
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

    from napari_blindsr.engine.result import Progress
    from napari_blindsr.result import Result

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
    console = Console(stderr=True, quiet=quiet, highlight=False)
    for note in loaded.notes:
        console.print(f"{image}: {note}", markup=False)
    result = run(loaded.array, settings, known=known, console=console)
    size = loaded.pixel_size.divided(scale) if loaded.pixel_size is not None else None
    clipped = io.write_image(
        output, result.image, dtype=loaded.array.dtype, pixel_size=size, force=force
    )
    if clipped:
        count = result.image.shape[0] * result.image.shape[1]
        console.print(
            f"clipped {clipped} of {count} pixels to the range of {loaded.array.dtype}; "
            ".tif and .npy keep them"
        )
    if kernel_out is not None:
        io.write_kernel(kernel_out, result.kernel, force=force)
    if report is not None:
        io.write_report(report, result.report(), force=force)
    written = [str(path) for path in (output, kernel_out, report) if path is not None]
    console.print(
        f"{result.reason} after {result.trace.size} steps and {result.seconds:.0f} s; "
        f"wrote {', '.join(written)}",
        markup=False,
        soft_wrap=True,
    )
    return FAILED if result.reason == "diverged" else 0


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


def run(
    image: NDArray[Any],
    settings: Settings,
    *,
    known: NDArray[Any] | None = None,
    console: Console,
) -> Result:
    """Restore an array, showing how it goes.

    Parameters
    ----------
    image : ndarray
    settings : Settings
    known : ndarray, (K, K), optional
        The kernel, if ``settings.kernel`` is "known".
    console : Console

    Raises
    ------
    BlindSRError
    KeyboardInterrupt
        On a second Ctrl-C; the first one ends the run and returns the best state so far.
    """
    from napari_blindsr import api  # noqa: PLC0415

    steps = api.iterate(image, settings, known_kernel=known)
    # Bad input shows on the first step, before anything else is said.
    progress = next(steps)
    console.print(_machine(settings), soft_wrap=True)
    with _interruptible(console) as interrupt, _bar(console) as show:
        while True:
            show(progress)
            try:
                progress = steps.send(interrupt.requested)
            except StopIteration as end:
                result: Result = end.value
                return result


def _machine(settings: Settings) -> str:
    """Return on what a run computes, in words."""
    import torch  # noqa: PLC0415

    from napari_blindsr.engine.device import choose_compute  # noqa: PLC0415

    compute = choose_compute(settings.device, settings.precision)
    dtype = str(compute.dtype).removeprefix("torch.")
    return (
        f"napari-blindsr {version('napari-blindsr')}, torch {torch.__version__}, "
        f"device {compute.device}, {dtype}"
    )


class Interrupt:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def _interruptible(console: Console) -> Iterator[Interrupt]:
    """Take the first Ctrl-C as a request to stop, and the second one literally."""
    interrupt = Interrupt()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True
        console.print("stopping after this step; Ctrl-C again drops the result")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(console: Console) -> Iterator[Any]:
    """Show a progress bar; yields a function that takes each `Progress`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=console.quiet,
    ) as bar:
        task = bar.add_task("starting", total=None, loss="–", left="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.step,
                total=progress.total,
                loss="–" if progress.loss is None else f"{progress.loss:.3g}",
                left=_time_left(progress.remaining),
            )

        yield show


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"


def main() -> None:
    """Run the command line; exit code 2 for bad input, 1 for a failure of the computation."""
    try:
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        code = _fail(getattr(error, "format_message", error.__str__)(), BAD_INPUT)
    except EngineError as error:
        code = _fail(str(error), FAILED)
    except BlindSRError as error:
        code = _fail(str(error), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("aborted; nothing was written", ABORTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    """Say on one line what went wrong."""
    line = " ".join(message.split())
    sys.stderr.write(f"napari-blindsr: error: {line}\n")
    return code


if __name__ == "__main__":
    main()
