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
    if path.exists() and not force:
        raise FileError(f"cannot write {path}: it exists already; --force replaces it")
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    # Permissions alone do not tell: file systems may be read-only, users privileged.
    part = _part(path)
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
    part = _part(path)
    try:
        with part.open("xb+") as stream:
            yield stream
        if path.exists() and not force:
            raise FileError(f"cannot write {path}: it exists already; --force replaces it")
        part.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f".{uuid.uuid4().hex[:12]}.part")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
