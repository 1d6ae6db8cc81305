"""Stacks and many files: one after the other, with a summary at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from napari_blindsr.batch import FileJob, OpenFile, digest, is_finished, open_file, restore_file
from napari_blindsr.commands.options import FAILED
from napari_blindsr.errors import BlindSRError, EngineError, FileError
from napari_blindsr.terminal import machine, watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rich.console import Console

    from napari_blindsr.settings import Settings
    from napari_blindsr.stack_result import StackOptions, StackResult


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
) -> int:
    """Restore files; returns the exit code.

    What is finished is skipped, and what fails does not keep the others from being restored.

    Raises
    ------
    BlindSRError
        If there is one file only, and it fails.
    """
    outcomes: dict[FileJob, str] = {}
    opened: list[tuple[OpenFile, str]] = []
    for job in jobs:
        try:
            job.image.parent.mkdir(parents=True, exist_ok=True)
            run = _digest(job, settings, options, axes=axes, known=known, mask=mask)
            if not force and is_finished(job, run):
                outcomes[job] = "finished before"
                continue
            given = open_file(
                job, settings, options, axes=axes, known=known, mask=mask, force=force
            )
        except (BlindSRError, OSError) as error:
            _fail(job, error, outcomes, alone=len(jobs) == 1, console=console)
        else:
            opened.append((given, run))
    if opened:
        console.print(machine(settings), markup=False, soft_wrap=True)
    failed = any(outcome.startswith("failed") for outcome in outcomes.values())
    for given, run in opened:
        console.print(f"{given.job.source} → {given.job.image}", markup=False, soft_wrap=True)
        try:
            result = watch(restore_file(given, run=run, force=force), console=console)
        except BlindSRError as error:
            _fail(given.job, error, outcomes, alone=len(jobs) == 1, console=console)
            failed = True
            continue
        _say(result, given, console)
        outcomes[given.job] = _outcome(result)
        failed = failed or bool(result.failures)
        if result.reason == "stopped":
            break
    if len(jobs) > 1:
        console.print(_summary(jobs, outcomes))
    return FAILED if failed else 0


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


def _fail(
    job: FileJob,
    error: Exception,
    outcomes: dict[FileJob, str],
    *,
    alone: bool,
    console: Console,
) -> None:
    """Note what is wrong with a file; say it at once, and go on."""
    if alone:
        if isinstance(error, OSError) and not isinstance(error, BlindSRError):
            raise FileError(f"cannot write {job.image}: {error.strerror or error}") from error
        raise error
    outcomes[job] = f"failed: {error}"
    kind = "failed" if isinstance(error, EngineError) else "not restored"
    console.print(f"{job.source}: {kind}: {error}", markup=False, soft_wrap=True)


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
