"""``restore --replay``: reports keep the options and checksums of a run, which repeat it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_blindsr.errors import FileError
from napari_blindsr.images.atomic import check_readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ELSEWHERE = frozenset(
    {
        *("output", "output_dir", "file_format", "kernel_out", "mask_out", "uncertainty_out"),
        *("report", "dask"),
    }
)
"""Options that say where results go or who computes; a repetition has its own."""
CHUNK = 1 << 20


def recorded(files: Mapping[str, Path], groups: Sequence[Any]) -> dict[str, Any]:
    """Return what a report keeps of a command: its files, and all options that are no defaults.

    `groups` are the dataclasses of the options.
    """
    options = {
        field.name: _plain(getattr(group, field.name))
        for group in groups
        for field in fields(group)
        if field.name not in ELSEWHERE and getattr(group, field.name) != field.default
    }
    if "--kernel" in files:
        options["kernel"] = _plain(files["--kernel"])
    return {
        "version": version("napari-blindsr"),
        "options": options,
        "files": {
            name: {"path": _plain(path), "sha256": checksum(path)} for name, path in files.items()
        },
    }


def take_options(context: typer.Context, report: Path | None) -> Path | None:
    """Make the options of a report the defaults of a command."""
    if report is not None:
        options = read_command(report)["options"]
        # As a text it is an invalid value of its option in every version of typer.
        texts = {name: str(value) for name, value in options.items() if isinstance(value, dict)}
        context.default_map = {**(context.default_map or {}), **options, **texts}
    return report


def read_command(report: Path) -> dict[str, Any]:
    """Return what `recorded` returned when a report was written.

    Raises
    ------
    FileError
        If it is no report, or one that says no command.
    """
    try:
        check_readable(report)
        command = json.loads(report.read_text(encoding="utf-8"))["command"]
        known = isinstance(command["options"], dict) and "INPUT" in command["files"]
    except OSError as error:
        raise FileError(f"cannot read {report}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise FileError(
            f"{report} says no command that could be repeated; expected a report that "
            "napari-blindsr restore has written"
        )
    return dict(command)


def check_files(report: Path, files: Mapping[str, Path]) -> list[str]:
    """Check that the files of a command are those of a report; returns notes.

    Raises
    ------
    FileError
        If one differs from what it was then.
    """
    command = read_command(report)
    for name in sorted({*command["files"], *files}):
        before, path = command["files"].get(name), files.get(name)
        if before is None or path is None:
            given = "was not given" if before is None else f"was {before['path']}"
            raise FileError(f"{name} is {path}, but in the run of {report} it {given}")
        if checksum(path) != before["sha256"]:
            raise FileError(
                f"{name} {path} is not what it was in the run of {report}; expected the SHA-256 "
                f"checksum {before['sha256']}"
            )
    now = version("napari-blindsr")
    if command.get("version") == now:
        return []
    return [f"the run was one of version {command.get('version')}; this is {now}"]


def checksum(path: Path) -> str:
    """Return the SHA-256 checksum of a file, or of the names and contents of a folder's files."""
    found = hashlib.sha256()
    try:
        if not path.is_dir():
            return _digest(path).hexdigest()
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            name = file.relative_to(path).as_posix()
            found.update(name.encode(errors="surrogateescape") + b"\0" + _digest(file).digest())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    return found.hexdigest()


def _digest(path: Path) -> hashlib._Hash:
    check_readable(path)
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            found.update(chunk)
    return found


def _plain(value: Any) -> Any:
    """Return a value of an option as JSON holds it; paths are absolute."""
    if isinstance(value, Path):
        return str(value.absolute())
    return list(value) if isinstance(value, tuple) else value
