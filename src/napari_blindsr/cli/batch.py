"""Restores stacks and many files, with a summary at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from napari_blindsr.cli.measure import square_pixel
from napari_blindsr.cli.options import FAILED, STOPPED, say, warnings_of
from napari_blindsr.cli.terminal import machine, release, watch
from napari_blindsr.errors import BlindSRError, EngineError, FileError
from napari_blindsr.images.atomic import without_empty_folders
from napari_blindsr.stacks.batch import (
    FileJob,
    OpenFile,
    is_delivered,
    open_unfinished,
    restore_file,
    restore_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.dask_client import ClusterChoice
    from napari_blindsr.stacks.options import StackOptions
    from napari_blindsr.stacks.result import StackResult


def restore_many(
    jobs: Sequence[FileJob],
    settings: Settings,
    options: StackOptions,
    *,
    axes: str | None,
    known: NDArray[Any] | None,
    mask: NDArray[Any] | None,
    force: bool,
    console: Console,
    about: Callable[[Path], Mapping[str, Any]],
    cluster: ClusterChoice | None = None,
) -> int:
    """Restore files; returns the exit code. Files that are complete are skipped.

    What `about` returns of a source is part of its report.
    A file that fails does not end the run, unless it is the only one; a lost cluster does.
    """
    summary = _Outcomes(alone=len(jobs) == 1, console=console)
    model: dict[str, Any] = {"settings": settings, "options": options}
    model |= {"axes": axes, "known": known, "mask": mask}
    with without_empty_folders(job.image.parent for job in jobs):
        opened = _opened(jobs, model, about, summary, force=force)
        if opened and cluster is None:
            say(console, machine(settings))
            _one_by_one(opened, summary, force=force)
        elif opened and cluster is not None:
            _on_cluster(opened, summary, cluster, force=force)
    if len(jobs) > 1:
        console.print(_summary(jobs, summary.outcomes))
    if summary.failed:
        return FAILED
    return STOPPED if summary.incomplete else 0


def _opened(
    jobs: Sequence[FileJob],
    model: dict[str, Any],
    about: Callable[[Path], Mapping[str, Any]],
    summary: _Outcomes,
    *,
    force: bool,
) -> list[tuple[OpenFile, str]]:
    """Open the files that are to be restored; returns each with what identifies its run."""
    opened: list[tuple[OpenFile, str]] = []
    for job in jobs:
        try:
            found = open_unfinished(job, force=force, **model)
            if found is None:
                summary.outcomes[job] = "already complete"
                if summary.alone:
                    text = f"{job.image} is already complete; --force restores it again"
                    say(summary.console, text)
                continue
            given, run = found
            given = replace(given, about=about(job.source))
        except (BlindSRError, OSError) as error:
            summary.fail(job, error)
        else:
            opened.append((given, run))
    return opened


def _one_by_one(opened: Sequence[tuple[OpenFile, str]], summary: _Outcomes, *, force: bool) -> None:
    """Restore files in this process."""
    console = summary.console
    for given, run in opened:
        say(console, f"{given.job.source} → {given.job.image}")
        try:
            result, _ = watch(restore_file(given, run=run, force=force), console=console)
        except BlindSRError as error:
            summary.fail(given.job, error)
            continue
        summary.end(given, result)
        if result.reason == "stopped":
            break


def _on_cluster(
    opened: Sequence[tuple[OpenFile, str]],
    summary: _Outcomes,
    cluster: ClusterChoice,
    *,
    force: bool,
) -> None:
    """Restore files on a cluster, several at once."""
    with cluster.client() as client:
        # distributed may not be installed, unless there is a client.
        from napari_blindsr.stacks.dask_executor import ClusterExecutor  # noqa: PLC0415

        executor = ClusterExecutor(client, patience=0)
        say(summary.console, f"{release()}, {executor.describe()}")
        steps = restore_files(
            opened, executor=executor, at_once=executor.capacity, ended=summary.take, force=force
        )
        watch(steps, console=summary.console)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcomes:
    """Prints the outcome of each file, and keeps it for the summary.

    If a file is `alone`, its error is that of the command.
    """

    alone: bool
    console: Console
    outcomes: dict[FileJob, str] = field(default_factory=dict)
    failed: list[FileJob] = field(default_factory=list)
    incomplete: list[FileJob] = field(default_factory=list)

    def take(self, given: OpenFile, result: StackResult | BlindSRError) -> None:
        """Record the result of a file, or its error."""
        if isinstance(result, BlindSRError):
            self.fail(given.job, result)
        else:
            self.end(given, result)

    def end(self, given: OpenFile, result: StackResult) -> None:
        """Record the result of a file."""
        _print_result(result, given, self.console)
        self.outcomes[given.job] = _outcome(result)
        if result.failures:
            self.failed.append(given.job)
        if result.reason != "completed":
            self.incomplete.append(given.job)

    def fail(self, job: FileJob, error: Exception) -> None:
        """Record the error of a file."""
        if self.alone:
            if isinstance(error, OSError) and not isinstance(error, BlindSRError):
                reason = error.strerror or error
                raise FileError(f"cannot write {job.image}: {reason}") from error
            raise error
        self.failed.append(job)
        self.outcomes[job] = f"failed: {error}"
        kind = "failed" if isinstance(error, EngineError) else "not restored"
        say(self.console, f"{job.source}: {kind}: {error}")


def _print_result(result: StackResult, given: OpenFile, console: Console) -> None:
    # Not before now: this imports what napari shows.
    from napari_blindsr.plugin.widgets.texts import NAMED, blur_details  # noqa: PLC0415

    lines = [f"note: {note}" for note in (*given.notes, *result.notes)]
    lines += [
        f"plane {' '.join(map(str, record.index)) or 0} has no values: {record.error}"
        for record in result.failures
    ]
    noted = Counter(note for record in result.records for note in record.notes)
    lines += [f"note: {_planes(count)}: {note}" for note, count in noted.most_common(NAMED)]
    lines += warnings_of(result.flags)
    size = given.description.pixel_size
    fine = None if size is None else square_pixel(size)[0]
    lines += blur_details(result, None if fine is None else fine * result.settings.scale)
    if result.kept:
        lines.append(f"{_planes(result.kept)} from an earlier run")
    if result.learned_priors:
        lines.append(f"Neural networks used: {', '.join(result.learned_priors)}.")
    ending = "wrote" if result.reason == "completed" else "stopped; the same command completes"
    if result.reason != "completed" and is_delivered(result, given.job.image):
        ending = "stopped; wrote"
    done = _planes(len(result.records) - len(result.failures))
    say(console, *lines, f"{done} in {result.seconds:.0f} s; {ending} {given.job.image}")


def _outcome(result: StackResult) -> str:
    done = _planes(len(result.records) - len(result.failures))
    text = f"{done} in {result.seconds:.0f} s"
    if result.failures:
        text = f"{text}, {len(result.failures)} could not be restored"
    return text if result.reason == "completed" else f"stopped after {text}"


def _planes(count: int) -> str:
    return f"{count} plane{'' if count == 1 else 's'}"


def _summary(jobs: Sequence[FileJob], outcomes: dict[FileJob, str]) -> Table:
    table = Table("file", "outcome", title="Summary")
    for job in jobs:
        table.add_row(escape(job.source.name), escape(outcomes.get(job, "not started")))
    return table
