"""The command line. Libraries that are slow to import are imported by what needs them."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.console import Console

from napari_blindsr.cli.demo import demo
from napari_blindsr.cli.evaluate import evaluate
from napari_blindsr.cli.kernel import kernel
from napari_blindsr.cli.measure import measure
from napari_blindsr.cli.prepare import prepare
from napari_blindsr.cli.restore import restore
from napari_blindsr.errors import BlindSRError, EngineError

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


for command in (restore, kernel, measure, prepare, evaluate, demo):
    app.command()(command)


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
