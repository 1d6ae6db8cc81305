"""Writing files safely: checked before the work, replaced at once, nothing half-written left."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from napari_blindsr.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


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
    if path.is_dir():
        raise FileError(f"cannot write {path}: it is a folder; expected the name of a file")
    check_free(path, force=force)
    check_folder(path)


def check_free(path: Path, *, force: bool) -> None:
    """Check that nothing has a name that is to be given, unless it may be replaced."""
    if path.exists() and not force:
        raise FileError(f"cannot write {path}: it exists already; --force replaces it")


def check_folder(path: Path) -> None:
    """Check that something can be made in the folder that a path names."""
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    # Permissions alone do not tell: file systems may be read-only, users privileged.
    part = part_of(path)
    try:
        with part.open("xb"):
            pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error
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
        raise FileError(f"cannot write {path}: {_reason(error)}") from error


def part_of(path: Path) -> Path:
    """Return a name beside a file, free, for what is not complete."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}.part")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
