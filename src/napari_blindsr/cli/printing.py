"""Tables on standard output, and lines on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from napari_blindsr.restoration.diagnostics import Flag


def error_console(*, quiet: bool = False) -> Console:
    """Return the console of notes and progress."""
    return Console(stderr=True, quiet=quiet, highlight=False)


def say(console: Console, *lines: str) -> None:
    """Print lines as they are, without markup or line breaks."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def warnings_of(flags: Iterable[Flag]) -> list[str]:
    """Return a line for each flag: what was measured, what it means, and what to do."""
    return [f"warning: {flag.message}. {flag.meaning} {flag.advice}" for flag in flags]


def print_tables(*tables: Table, title: str | None = None) -> None:
    """Print tables on standard output; in a file they are as wide as they need to be."""
    console = Console(highlight=False)
    if title is not None:
        say(console, title)
    for table in tables:
        if not console.is_terminal:
            widest = Console(width=1000).measure(table).maximum
            console.width = max(console.width, widest)
        console.print(table)
