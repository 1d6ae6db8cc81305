"""A run in a terminal: progress bar, Ctrl-C, table of scores."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from napari_blindsr.cli.options import say
from napari_blindsr.progress import StopReason
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.solvers.device import choose_compute

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import FrameType

    from numpy.typing import NDArray
    from rich.console import Console

    from napari_blindsr.evaluation.demo import Score
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings


def run(
    image: NDArray[Any],
    settings: Settings,
    *,
    known: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    region: Box | None = None,
    notes: Sequence[str] = (),
    console: Console,
) -> Result:
    """Restore an array with a progress bar; `notes` are printed once the image is checked.

    The first Ctrl-C ends the run and returns the best state so far; a second one interrupts.
    """
    steps = iterate(image, settings, known_kernel=known, mask=mask, region=region)
    result, stopped = watch(steps, console=console, lines=(machine(settings), *notes))
    # A request after the last step counts as well: it ends an evaluation of many images.
    if stopped and result.reason != StopReason.DIVERGED:
        return replace(result, reason=StopReason.STOPPED)
    return result


Returned = TypeVar("Returned")


def watch(
    steps: Generator[Progress, bool | None, Returned],
    *,
    console: Console,
    lines: Sequence[str] = (),
) -> tuple[Returned, bool]:
    """Run a generator with a progress bar; returns its result, and whether Ctrl-C was pressed.

    The first Ctrl-C asks the generator to stop; a second one interrupts. `lines` are printed after
    the first step, which raises the errors of bad input.
    """
    progress = next(steps)
    with _interruptible(console) as interrupted:
        say(console, *lines)
        with _bar(console) as show:
            while True:
                show(progress)
                try:
                    progress = steps.send(interrupted.is_set())
                except StopIteration as end:
                    return end.value, interrupted.is_set()


def machine(settings: Settings) -> str:
    """Return versions, device and number type of a run."""
    compute = choose_compute(settings.device, settings.precision)
    dtype = str(compute.dtype).removeprefix("torch.")
    return f"{release()}, device {compute.device}, {dtype}"


def release() -> str:
    """Return the versions of this package and of torch."""
    return f"napari-blindsr {version('napari-blindsr')}, torch {torch.__version__}"


@contextmanager
def _interruptible(console: Console) -> Iterator[Event]:
    """Take the first Ctrl-C as a request to stop; the second one interrupts."""
    interrupted = Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        console.print("stopping after this step; Ctrl-C again drops the result")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar; yields a function that takes each `Progress`."""
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


def score_table(scores: Sequence[Score]) -> Table:
    """Return a table of scores."""
    table = Table(title="Compared with the true image")
    table.add_column("")
    for heading in ("interpolation", "restored", "better is"):
        table.add_column(heading, justify="right")
    for score in scores:
        plain = "–" if score.interpolation is None else f"{score.interpolation:.3f}"
        label = f"{score.metric.label} [{score.metric.unit}]".removesuffix(" []")
        better = "higher" if score.metric.higher_is_better else "lower"
        table.add_row(escape(label), plain, f"{score.result:.3f}", better)
    return table
