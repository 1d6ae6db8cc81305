"""Stacks and many files: one after the other, with a summary at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from napari_blindsr.cli.options import FAILED, STOPPED
from napari_blindsr.cli.terminal import machine, release, watch
from napari_blindsr.errors import BlindSRError, EngineError, FileError
from napari_blindsr.stacks.batch import (
    FileJob,
    OpenFile,
    digest,
    is_delivered,
    is_finished,
    open_file,
    restore_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    cluster: ClusterChoice | None = None,
) -> int:
    """Restore files; returns the exit code.

    What is finished is skipped, and what fails does not keep the others from being restored.

    Raises
    ------
    BlindSRError
        If there is one file only, and it fails; or if the cluster cannot be reached, or is lost.
    """
    summary = _Outcomes(alone=len(jobs) == 1, console=console)
    opened: list[tuple[OpenFile, str]] = []
    for job in jobs:
        try:
            job.image.parent.mkdir(parents=True, exist_ok=True)
            run = _digest(job, settings, options, axes=axes, known=known, mask=mask)
            if not force and is_finished(job, run):
                summary.words[job] = "finished before"
                continue
            given = open_file(
                job, settings, options, axes=axes, known=known, mask=mask, force=force
            )
        except (BlindSRError, OSError) as error:
            summary.fail(job, error)
        else:
            opened.append((given, run))
    if opened and cluster is None:
        console.print(machine(settings), markup=False, soft_wrap=True)
        _one_by_one(opened, summary, force=force)
    elif opened and cluster is not None:
        _on_cluster(opened, summary, cluster, force=force)
    if len(jobs) > 1:
        console.print(_summary(jobs, summary.words))
    if summary.failed:
        return FAILED
    return STOPPED if summary.stopped else 0


def _one_by_one(opened: Sequence[tuple[OpenFile, str]], summary: _Outcomes, *, force: bool) -> None:
    """Restore files in this process."""
    console = summary.console
    for given, run in opened:
        console.print(f"{given.job.source} → {given.job.image}", markup=False, soft_wrap=True)
        try:
            result = watch(restore_file(given, run=run, force=force), console=console)
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
        from napari_blindsr.stacks.batch import restore_files  # noqa: PLC0415
        from napari_blindsr.stacks.dask_executor import ClusterRunner  # noqa: PLC0415

        runner = ClusterRunner(client, patience=0)
        summary.console.print(f"{release()}, {runner.describe()}", markup=False, soft_wrap=True)
        steps = restore_files(
            opened, runner=runner, at_once=runner.capacity, ended=summary.take, force=force
        )
        watch(steps, console=summary.console)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcomes:
    """What became of files: said at once, and kept for the summary.

    Attributes
    ----------
    alone : bool
        Whether there is one file only, so that its failure is that of the command.
    console : Console
    words : dict of FileJob to str
    """

    alone: bool
    console: Console
    words: dict[FileJob, str] = field(default_factory=dict)
    failures: list[FileJob] = field(default_factory=list)
    unfinished: list[FileJob] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything could not be restored."""
        return bool(self.failures)

    @property
    def stopped(self) -> bool:
        """Whether anything is left to be gone on with."""
        return bool(self.unfinished)

    def take(self, given: OpenFile, result: StackResult | BlindSRError) -> None:
        """Hear that a file is done with."""
        if isinstance(result, BlindSRError):
            self.fail(given.job, result)
        else:
            self.end(given, result)

    def end(self, given: OpenFile, result: StackResult) -> None:
        """Hear that a file was restored."""
        _say(result, given, self.console)
        self.words[given.job] = _outcome(result)
        if result.failures:
            self.failures.append(given.job)
        if result.reason != "completed":
            self.unfinished.append(given.job)

    def fail(self, job: FileJob, error: Exception) -> None:
        """Note what is wrong with a file; say it at once, and go on."""
        if self.alone:
            if isinstance(error, OSError) and not isinstance(error, BlindSRError):
                reason = error.strerror or error
                raise FileError(f"cannot write {job.image}: {reason}") from error
            raise error
        self.failures.append(job)
        self.words[job] = f"failed: {error}"
        kind = "failed" if isinstance(error, EngineError) else "not restored"
        self.console.print(f"{job.source}: {kind}: {error}", markup=False, soft_wrap=True)


def _digest(
    job: FileJob,
    settings: Settings,
    options: StackOptions,
    *,
    axes: str | None,
    known: NDArray[Any] | None,
    mask: NDArray[Any] | None,
) -> str:
    try:
        return digest(job, settings, options, axes=axes, known=known, mask=mask)
    except OSError as error:
        raise FileError(f"cannot read {job.source}: {error.strerror or error}") from error


def _say(result: StackResult, given: OpenFile, console: Console) -> None:
    lines = [f"note: {note}" for note in (*given.notes, *result.notes)]
    lines += [
        f"plane {' '.join(map(str, record.index)) or 0} has no values: {record.error}"
        for record in result.failures
    ]
    flags: dict[str, int] = {}
    for record in result.records:
        for flag in record.flags:
            flags[flag] = flags.get(flag, 0) + 1
    lines += [f"do not believe: {flag} ({_planes(count)})" for flag, count in flags.items()]
    if result.kept:
        lines.append(f"{result.kept} planes were there from an earlier run")
    if result.learned_priors:
        lines.append(f"trained networks that took part: {', '.join(result.learned_priors)}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    what = "wrote" if result.reason == "completed" else "stopped; to be gone on with:"
    if result.reason != "completed" and is_delivered(result, given.job.image):
        what = "stopped; wrote"
    console.print(
        f"{_planes(len(result.records) - len(result.failures))} in {result.seconds:.0f} s; {what} "
        f"{given.job.image}",
        markup=False,
        soft_wrap=True,
    )


def _outcome(result: StackResult) -> str:
    done = _planes(len(result.records) - len(result.failures))
    text = f"{done} in {result.seconds:.0f} s"
    if result.failures:
        text = f"{text}, {len(result.failures)} could not be restored"
    return text if result.reason == "completed" else f"stopped after {text}"


def _planes(count: int) -> str:
    return f"{count} plane{'' if count == 1 else 's'}"


def _summary(jobs: Sequence[FileJob], outcomes: dict[FileJob, str]) -> Table:
    table = Table(title="Summary")
    table.add_column("file")
    table.add_column("outcome")
    for job in jobs:
        table.add_row(escape(job.source.name), escape(outcomes.get(job, "not begun")))
    return table
