"""Writing files safely: checked before the work, replaced at once, nothing half-written left."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from napari_blindsr.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self


REPLACES = "; --force replaces it"
"""How a refusal to replace a file ends, for the command line."""


def check_plain(path: Path, refusal: str) -> None:
    """Raise a `FileError`, which begins with `refusal`, unless a path is a file with content.

    Opening a pipe would wait for ever, and reading a device need not end.
    """
    mode = mode_of(path, refusal)
    if mode is None:
        raise FileError(f"{refusal}: there is no such file")
    _check_regular(mode, refusal, "a file")


def check_readable(file: Path) -> None:
    """Raise a `FileError` unless a file is there, is none that never ends, and can be opened."""
    check_plain(file, f"cannot read {file}")
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise FileError(f"cannot read {file}: {reason_of(error)}") from error


def mode_of(path: Path, refusal: str) -> int | None:
    """Return the mode of a path, links followed, or None; a `FileError` if the system refuses."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileError(f"{refusal}: {reason_of(error)}") from error


def _check_regular(mode: int, refusal: str, expected: str) -> None:
    """Raise a `FileError` for a folder, a pipe, a socket or a device."""
    if stat.S_ISREG(mode):
        return
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise FileError(f"{refusal}: it is {kind}; expected {expected}")


def check_output(path: Path, *, suffixes: Collection[str], force: bool) -> None:
    """Raise a `FileError` if a file with one of some extensions cannot be written."""
    check_suffix(path, suffixes, "write")
    mode = mode_of(path, f"cannot write {path}")
    if mode is not None:
        _check_regular(mode, f"cannot write {path}", "the name of a file")
    check_free(path, force=force)
    check_folder(path)


def check_free(path: Path, *, force: bool) -> None:
    """Raise a `FileError` if a name is taken, unless what has it may be replaced."""
    if mode_of(path, f"cannot write {path}") is not None and not force:
        raise FileError(f"cannot write {path}: it exists already{REPLACES}")


def check_folder(path: Path) -> None:
    """Raise a `FileError` if nothing can be made in the folder of a path."""
    mode = mode_of(path.parent, f"cannot write {path}")
    if mode is None or not stat.S_ISDIR(mode):
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    remove_leftovers(path.parent)
    # Permissions alone do not show it: file systems may be read-only, users privileged.
    part = part_of(path)
    try:
        with part.open("xb"):
            pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason_of(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path, *, parents: bool = True) -> None:
    """Make a folder, and those above it."""
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error


@contextmanager
def without_empty_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Remove, at the end, which of some folders, and of those above, were made but stay empty."""
    named = {above for folder in folders for above in (folder, *folder.parents)}
    missing = [folder for folder in named if not os.access(folder, os.F_OK)]
    try:
        yield
    finally:
        # The deepest first.
        for folder in sorted(missing, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):
                folder.rmdir()


def check_suffix(path: Path, suffixes: Collection[str], purpose: str) -> str:
    """Return the extension of a path in lower case; a `FileError` if it is none of some."""
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
def replacing(path: Path, *, force: bool, bundle: Bundle | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name once it is complete, or when a bundle commits.

    A `FileError` if it cannot be written, or has come into being meanwhile without `force`.
    """
    part = part_of(path)
    kept = False
    try:
        with writing(path):
            with part.open("xb+") as stream:
                yield stream
            check_free(path, force=force)
            if bundle is None:
                part.replace(path)
            else:
                bundle.add(part, path)
                kept = True
    finally:
        if not kept:
            with suppress(OSError):
                part.unlink(missing_ok=True)


class Bundle:
    """Files that take their names together, or none of them.

    `commit` writes its intention down first, beside the file `main` that the others belong to. If
    the process is killed in between, `complete` does the rest. As a context, a bundle is discarded
    by an error.
    """

    def __init__(self, main: Path) -> None:
        self._record = record_of(main)
        self._moves: list[tuple[Path, Path, Path]] = []

    def add(self, part: Path, path: Path) -> None:
        """Take a complete file, or folder, that has a temporary name beside its own."""
        self._moves.append((part, path, part_of(path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()

    def commit(self) -> None:
        """Give all files their names; raises a `FileError` if one cannot have it."""
        moves = [[move.name for move in entry] for entry in self._moves]
        folders = {str(path.parent) for _, path, _ in self._moves}
        if len(folders) > 1 or len(moves) == 1:
            # Without a record, which can only name files of one folder.
            for move in self._moves:
                with writing(move[1]):
                    _take_name(*move)
            return
        with writing(self._record), self._record.open("x", encoding="ascii") as stream:
            json.dump(moves, stream)
            stream.flush()
            os.fsync(stream.fileno())
        for number, move in enumerate(self._moves):
            with writing(move[1]):
                try:
                    _take_name(*move)
                except OSError:
                    if number == 0:
                        # None has moved; else `complete` does the rest.
                        self._record.unlink(missing_ok=True)
                        self.discard()
                    raise
        self._record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what has not taken its name."""
        for part, _, _ in self._moves:
            with suppress(OSError):
                remove(part)


def record_of(main: Path) -> Path:
    """Return the file in which a `Bundle` is written down while it is committed."""
    digest = hashlib.sha256(main.name.encode(errors="surrogateescape")).hexdigest()[:12]
    return main.with_name(f".{digest}.blindsr-moves")


def complete(main: Path, files: Collection[Path]) -> bool:
    """Complete the commit of a process that was killed, and return whether there was one.

    Only the given files are touched, whatever the record of the commit says.
    """
    record = record_of(main)
    names = {path.name for path in files}
    try:
        moves = json.loads(record.read_text(encoding="ascii"))
        known = all(
            len(move) == 3
            and move[1] in names
            and (_PART.fullmatch(move[0]) or move[0] == f"{move[1]}.part")
            and _PART.fullmatch(move[2])
            for move in moves
        )
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError, RecursionError):
        # Cut short as it was written: nothing has moved.
        known, moves = False, []
    with writing(main):
        for part, path, old in moves if known else []:
            _take_name(*(main.with_name(name) for name in (part, path, old)))
        record.unlink(missing_ok=True)
    return known and bool(moves)


def _take_name(part: Path, path: Path, old: Path) -> None:
    """Replace a file or folder; complete a replacement that was begun before."""
    if part.is_dir():
        # A folder cannot be replaced at once.
        if path.exists():
            path.rename(old)
        part.rename(path)
    elif part.exists():
        part.replace(path)
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file or folder of ours, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says while a file is being written into a `FileError`."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason_of(error)}") from error


_PART = re.compile(r"\.blindsr-([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.part")


def part_of(path: Path) -> Path:
    """Return a free name beside a file for what is not complete.

    It has the number of the process, so that what a dead one left can be removed.
    """
    return path.with_name(f".blindsr-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.part")


def _machine() -> str:
    """Return what distinguishes this machine from others that share its folders."""
    return hashlib.sha256(f"{platform.node()}/{uuid.getnode()}".encode()).hexdigest()[:8]


def remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine that have ended were writing into a folder."""
    if os.name != "posix":
        # Elsewhere asking for a process would end it.
        return
    with suppress(OSError):
        for entry in folder.iterdir():
            found = _PART.fullmatch(entry.name)
            if found and found[1] == _machine() and not _lives(int(found[2])):
                with suppress(OSError):
                    remove(entry)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def reason_of(error: OSError | ValueError) -> str:
    """Return why the system refuses something, in its words."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)
