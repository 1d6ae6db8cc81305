"""What a file format is to the rest of the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_blindsr.formats.description import ImageFile
    from napari_blindsr.formats.writer import ImageWriter, Output


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        In lower case, with their dot.
    open : callable
        From a path, and its axes or None where the file's own hold, to an `ImageFile`.
    check : callable
        Raises a `BlindSRError` if an output cannot be written, before any work.
    create : callable
        Begins an output that was checked.
    folder : bool
        Whether an image is a folder.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, str | None], ImageFile]
    check: Callable[[Output], None]
    create: Callable[[Output], ImageWriter]
    folder: bool = False
