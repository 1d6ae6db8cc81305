"""A file that takes the planes of a stack as they come, and remembers which it has."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_blindsr.imagefile import create_image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.formats.description import Description
    from napari_blindsr.layout import Index, Layout
    from napari_blindsr.stack_result import PlaneRecord


class FileTarget:
    """An image file of any format that can be written.

    An OME-Zarr that an earlier run of the same computation has not finished is gone on with; which
    planes are complete stands in a file beside it.

    Parameters
    ----------
    path : Path
    layout : Layout
        Of the result.
    dtype : dtype
    description : Description
        Of the result.
    run : str
        What identifies the computation.
    force : bool
        Replace an existing file.

    Raises
    ------
    FileError
        If it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        layout: Layout,
        dtype: np.dtype[Any],
        description: Description,
        run: str,
        force: bool,
    ) -> None:
        self._writer = create_image(
            path,
            shape=layout.shape,
            dtype=dtype,
            description=description,
            force=force,
            resume=True,
            run=run,
        )
        self._journal = path.with_name(f".{path.name}.planes")
        self._done: set[Index] = set()
        if self._writer.resumed:
            self._read()
        else:
            self._journal.unlink(missing_ok=True)

    def _read(self) -> None:
        with suppress(FileNotFoundError):
            for line in self._journal.read_text(encoding="ascii").splitlines():
                # A line that was cut short by the end of a run does not count.
                with suppress(ValueError, TypeError):
                    self._done.add(tuple(int(at) for at in json.loads(line)["position"]))

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Take a block of the result."""
        self._writer.write(index, block)

    def finished(self, position: Index) -> bool:
        """Tell whether a plane is complete."""
        return position in self._done

    def note(self, position: Index, record: PlaneRecord) -> None:
        """Remember that a plane is complete."""
        line = json.dumps({"position": list(position), "record": record.to_json()})
        # A line of its own, whatever came before.
        with self._journal.open("a", encoding="ascii") as journal:
            journal.write(f"\n{line}\n")
        self._done.add(position)

    def finish(self) -> None:
        """Give the file its name: it is complete."""
        self._writer.finish()
        self._journal.unlink(missing_ok=True)

    def suspend(self) -> None:
        """End here; what is there is kept for another run, where the format can."""
        self._writer.suspend()
        if not can_go_on(self._writer.path):
            self._journal.unlink(missing_ok=True)

    def abort(self) -> None:
        """Remove what is not complete."""
        self._writer.abort()
        self._journal.unlink(missing_ok=True)


def can_go_on(path: Path) -> bool:
    """Tell whether a file that is not complete is kept for another run."""
    return path.name.lower().endswith(".zarr")
