"""Several files at once, in turns: whoever restores their planes is never without work."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_blindsr.batch import restore_file
from napari_blindsr.engine.result import Progress
from napari_blindsr.errors import BlindSRError, ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_blindsr.batch import OpenFile
    from napari_blindsr.runner import Runner
    from napari_blindsr.stack_result import StackResult

TURN = 0.02
"""Seconds between two turns."""


@dataclass(kw_only=True, eq=False)
class _Running:
    """A file that is being restored."""

    opened: OpenFile
    steps: Generator[Progress, bool | None, StackResult]
    report: Progress | None = None


def restore_files(
    files: Sequence[tuple[OpenFile, str]],
    *,
    runner: Runner,
    at_once: Callable[[], int],
    ended: Callable[[OpenFile, StackResult | BlindSRError], None],
    force: bool = False,
) -> Generator[Progress, bool | None, None]:
    """Restore files, some at a time: yields the `Progress` of all.

    A true value that is sent in ends the run after the planes that are being restored.

    Parameters
    ----------
    files : sequence of (OpenFile, str)
        The files, and what identifies their computations, as `restore_file` takes them.
    runner : Runner
        Restores the planes of all; must not wait for them.
    at_once : callable
        Returns how many files are worth being at, which changes as workers come and go.
    ended : callable
        Called with a file, and what became of it, in the order in which they end.
    force : bool
        Replace existing files.

    Raises
    ------
    ClusterError
        If the cluster is lost.
    """
    clock = _Clock(files)
    waiting = deque(files)
    running: list[_Running] = []
    stop = False
    try:
        while running or (waiting and not stop):
            while waiting and not stop and len(running) < at_once():
                opened, run = waiting.popleft()
                steps = restore_file(opened, run=run, force=force, runner=runner)
                running.append(_Running(opened=opened, steps=steps))
            for entry in list(running):
                try:
                    entry.report = entry.steps.send(None if entry.report is None else stop)
                except StopIteration as end:
                    running.remove(entry)
                    clock.end(entry.report)
                    ended(entry.opened, end.value)
                except ClusterError:
                    raise
                except BlindSRError as error:
                    running.remove(entry)
                    clock.end(entry.report)
                    ended(entry.opened, error)
            time.sleep(TURN)
            stop = bool((yield clock.progress(running))) or stop
    finally:
        for entry in running:
            entry.steps.close()


class _Clock:
    """How far all files are.

    Parameters
    ----------
    files : sequence of (OpenFile, str)
    """

    def __init__(self, files: Sequence[tuple[OpenFile, str]]) -> None:
        self._start = time.perf_counter()
        self._files = len(files)
        self._ended = 0
        self._planes = 0
        self._total = sum(len(opened.stack.indices) for opened, _ in files)

    def end(self, last: Progress | None) -> None:
        """Hear that a file is done with, by its last report."""
        self._ended += 1
        self._planes += _planes_of(last)

    def progress(self, running: Sequence[_Running]) -> Progress:
        """Return how far they are."""
        reports = [entry.report for entry in running if entry.report is not None]
        done = self._planes + sum(map(_planes_of, reports))
        seconds = time.perf_counter() - self._start
        report = Progress(
            step=done,
            total=self._total,
            stage=f"{self._ended} of {self._files} files",
            loss=None,
            seconds=seconds,
            remaining=seconds / done * (self._total - done) if done else None,
            unit="plane",
        )
        if not reports:
            return report
        return replace(report, stage=f"{report.stage}; {reports[0].stage}")


def _planes_of(report: Progress | None) -> int:
    """Return how many planes are done; tiles are parts of one."""
    return report.step if report is not None and report.unit == "plane" else 0
