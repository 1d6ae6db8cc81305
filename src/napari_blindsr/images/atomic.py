"""Writing files safely: checked before the work, replaced at once, nothing half-written left."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from napari_blindsr.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


def check_plain(path: Path, refusal: str) -> None:
    """Check that a path is a file with content, not a pipe, a device or a folder.

    Opening a pipe would wait for ever, and reading a device need not end.

    Parameters
    ----------
    path : Path
    refusal : str
        What cannot be done, as the message begins.

    Raises
    ------
    FileError
    """
    mode = mode_of(path, refusal)
    if mode is None:
        raise FileError(f"{refusal}: there is no such file")
    if stat.S_ISDIR(mode):
        raise FileError(f"{refusal}: it is a folder; expected a file")
    if not stat.S_ISREG(mode):
        raise FileError(f"{refusal}: it is {_kind(mode)}; expected a file")


def mode_of(path: Path, refusal: str) -> int | None:
    """Return what the system says a path is, links followed; None if there is nothing.

    Raises
    ------
    FileError
        If it cannot be told: folders without permission, loops of links, too long names.
    """
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileError(f"{refusal}: {reason_of(error)}") from error


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def check_output(path: Path, *, suffixes: Collection[str], force: bool) -> None:
    """Check that a file can be written, before any work is done for it.

    Parameters
    ----------
    path : Path
    suffixes : collection of str
        Allowed extensions, in lower case and with their dot.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileError
    """
    check_suffix(path, suffixes, "write")
    mode = mode_of(path, f"cannot write {path}")
    if mode is not None and stat.S_ISDIR(mode):
        raise FileError(f"cannot write {path}: it is a folder; expected the name of a file")
    if mode is not None and not stat.S_ISREG(mode):
        raise FileError(f"cannot write {path}: it is {_kind(mode)}; expected the name of a file")
    check_free(path, force=force)
    check_folder(path)


def check_free(path: Path, *, force: bool) -> None:
    """Check that nothing has a name that is to be given, unless it may be replaced."""
    if mode_of(path, f"cannot write {path}") is not None and not force:
        raise FileError(f"cannot write {path}: it exists already; --force replaces it")


def check_folder(path: Path) -> None:
    """Check that something can be made in the folder that a path names."""
    mode = mode_of(path.parent, f"cannot write {path}")
    if mode is None or not stat.S_ISDIR(mode):
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    # Permissions alone do not tell: file systems may be read-only, users privileged.
    part = part_of(path)
    try:
        with part.open("xb"):
            pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason_of(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_suffix(path: Path, suffixes: Collection[str], purpose: str) -> str:
    """Return the extension of a path in lower case, if it is one of those expected."""
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        has = f"the extension {path.suffix!r}" if suffix else "no extension"
        raise FileError(f"cannot {purpose} {path}: it has {has}; expected {listed(suffixes)}")
    return suffix


def listed(words: Collection[str]) -> str:
    """Return words as they stand in a sentence: "a, b or c"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only once it is complete.

    Raises
    ------
    FileError
        If it cannot be written, or has come into being meanwhile and `force` is not set.
    """
    part = part_of(path)
    try:
        with writing(path):
            with part.open("xb+") as stream:
                yield stream
            check_free(path, force=force)
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says while a file is being written into a `FileError`."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason_of(error)}") from error


def part_of(path: Path) -> Path:
    """Return a name beside a file, free, for what is not complete."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}.part")


def reason_of(error: OSError | ValueError) -> str:
    """Return why the system refuses something, in its words."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)
