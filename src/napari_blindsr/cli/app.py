"""The command line; slow libraries are imported by the functions that need them."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from napari_blindsr.cli.demo import demo
from napari_blindsr.cli.evaluate import evaluate
from napari_blindsr.cli.kernel import kernel
from napari_blindsr.cli.measure import measure
from napari_blindsr.cli.prepare import prepare
from napari_blindsr.cli.restore import restore
from napari_blindsr.errors import BlindSRError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

BAD_INPUT, FAILED, ABORTED = 2, 1, 130

# typer's own base of usage errors has moved between its versions; this public child has not.
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="napari-blindsr",
    help="Blind super-resolution: estimate the blur and a finer image from one image.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"napari-blindsr {version('napari-blindsr')}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, for a bug report.")
    ] = False,
) -> None:
    """Blind super-resolution: estimate the blur and a finer image from one image."""
    if isinstance(context.obj, dict):
        context.obj["debug"] = debug


for command in (restore, kernel, measure, prepare, evaluate, demo):
    app.command()(command)


def main() -> None:
    """Run the command line.

    Exit codes: 2 for bad input, 1 for a failed computation, 3 for a run that was stopped and kept
    its result so far, 130 for one that was stopped and wrote nothing.
    """
    # Warnings of libraries about a file become notes.
    logger = logging.getLogger("tifffile")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    _show_any_name()
    shared = {"debug": False}
    try:
        with _terminated_like_ctrl_c():
            code = app(standalone_mode=False, obj=shared)
    except (KeyboardInterrupt, typer.Abort):
        code = ABORTED
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        code = _explained(error, debug=shared["debug"])
    # Some versions of typer turn an interrupt into this code.
    if code == ABORTED:
        _fail("aborted; nothing was written", ABORTED)
    sys.exit(code if isinstance(code, int) else 0)


def _explained(error: Exception, *, debug: bool) -> int:
    """Print an error on one line; returns the exit code."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, USAGE_ERROR):
        return _fail(_usage_message(error), BAD_INPUT)
    if isinstance(error, EngineError):
        return _fail(str(error), FAILED)
    if isinstance(error, BlindSRError):
        return _fail(str(error), BAD_INPUT)
    if isinstance(error, MemoryError):
        return _fail(f"not enough memory ({error}); try a smaller image", FAILED)
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename}" if error.filename is not None else ""
        return _fail(f"the system refuses{where}: {os.strerror(error.errno).lower()}", BAD_INPUT)
    return _fail(
        f"a bug in this program: {type(error).__name__}: {error} ({_logged(error)})",
        FAILED,
    )


def _logged(error: Exception) -> str:
    """Write the traceback of an unexpected error to a file; returns a hint where it is."""
    from napari_blindsr.weights import cache_folder  # noqa: PLC0415

    file = cache_folder() / "last-error.txt"
    lines = [f"napari-blindsr {version('napari-blindsr')}\n", *traceback.format_exception(error)]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return "napari-blindsr --debug shows the traceback"
    return f"the traceback is in {file}"


def _show_any_name() -> None:
    """Escape the bytes of file names that cannot be printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage_message(error: Exception) -> str:
    message = str(getattr(error, "format_message", error.__str__)())
    # For a value of the wrong type, typer names the expected type but not the value.
    problems: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    received = problems[0].get("input") if problems else None
    return message if received is None else f"{message} (received {received!r})"


def _fail(message: str, code: int) -> int:
    """Print an error on one line."""
    line = " ".join(message.split())
    sys.stderr.write(f"napari-blindsr: error: {line}\n")
    return code
