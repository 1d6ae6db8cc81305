"""OME-Zarr: folders of chunks, read lazily and written chunk by chunk."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError, needs, reading
from napari_blindsr.images.atomic import (
    Bundle,
    check_folder,
    check_free,
    check_suffix,
    reason_of,
    writing,
)
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.lazy import Stored, colour_last
from napari_blindsr.images.metadata import Description, ImageFile, guessed_axes
from napari_blindsr.images.ngff import (
    OWN_KEY,
    channel_attributes,
    read_attributes,
    stored_axes,
    written_attributes,
)
from napari_blindsr.images.writer import Format, ImageWriter, Output, choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_blindsr.images.lazy import FullIndex
    from napari_blindsr.images.writer import Region


@dataclass(frozen=True)
class ZarrArray(Stored):
    """A `zarr.Array` in a folder."""

    path: Path
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values, in native byte order."""
        stored: np.dtype[Any] = np.dtype(self.array.dtype)
        return stored.newbyteorder("=")

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        with reading(self.path, "damaged Zarr array ({})"):
            return np.asarray(self.array[parts], self.dtype)


def zarr_package() -> Any:
    """Return the package zarr, version 2 or 3; a `FileError` if it is not installed."""
    try:
        import zarr  # noqa: PLC0415
    except ImportError as error:
        raise FileError(needs("OME-Zarr", "zarr")) from error
    return zarr


def open_zarr(path: Path, axes: str | None, series: int | None) -> ImageFile:
    """Open the image of a folder, at its full size if it is there in several."""
    zarr = zarr_package()
    if (path / "zarr.json").is_file() and not hasattr(zarr, "create_group"):
        raise FileError(
            f"cannot read {path}: its Zarr format 3 needs zarr 3; here is {zarr.__version__}"
        )
    with reading(path, "it is no OME-Zarr image ({})"):
        # What is pickled must be found from wherever it is unpickled.
        node = zarr.open(path.absolute(), mode="r")
        return _open(path, node, axes, series)


def _open(path: Path, node: Any, axes: str | None, series: int | None = None) -> ImageFile:
    attributes = dict(node.attrs)
    if hasattr(node, "dtype"):
        return _plain(path, node, axes)
    if "plate" in attributes or "plate" in attributes.get("ome", {}):
        raise FileError(
            f"cannot read {path}: it is a plate of many images; expected one of them, such as "
            f"{path / 'A' / '1' / '0'}"
        )
    level = read_attributes(attributes)
    if level is None and "0" in node and not hasattr(node["0"], "dtype"):
        # As bioformats2raw lays out what it converts: one group an image.
        count = next(n for n in itertools.count() if str(n) not in node)
        name = str(choose(path, [f"{path.name}/{n}" for n in range(count)], series))
        return _open(path / name, node[name], axes)
    if series:
        choose(path, [path.name], series)
    if level is None:
        raise FileError(f"cannot read {path}: it is no OME-Zarr image (no multiscales)")
    stored = ZarrArray(path, node[level.path])
    array, named, notes = colour_last(stored, axes or level.axes, level.description.notes)
    return ImageFile(array=array, description=replace(level.description, axes=named, notes=notes))


def _plain(path: Path, node: Any, axes: str | None) -> ImageFile:
    """Open an array that has at most names of its axes."""
    stored = ZarrArray(path, node)
    names = getattr(getattr(node, "metadata", None), "dimension_names", None) or node.attrs.get(
        "_ARRAY_DIMENSIONS"
    )
    letters = [str(name).upper() for name in names or () if name]
    known = distinct_axes("".join(letters)) if all(len(x) == 1 for x in letters) else ""
    if len(known) != stored.ndim or not {"Y", "X"} <= set(known):
        known = guessed_axes(stored.shape)
    array, named, notes = colour_last(stored, axes or known, ())
    return ImageFile(array=array, description=Description(axes=named, notes=notes))


def check_zarr(output: Output) -> None:
    """Check that an image can be written, and held."""
    path = output.path
    check_suffix(path, SUFFIXES, "write")
    zarr_package()
    check_free(path, force=output.force)
    for folder in (path, part_name(path)):
        check_ours(folder, f"cannot write {path}")
    check_folder(path)
    try:
        stored_axes(output.description.axes)
    except FileError as error:
        raise FileError(f"cannot write {path}: {error}") from error


SUFFIXES = (".zarr",)


def create_zarr(output: Output) -> ImageWriter:
    """Begin an image, or resume one that an earlier run has not finished."""
    with writing(output.path):
        return ZarrWriter(output)


FORMAT = Format(
    name="OME-Zarr",
    suffixes=SUFFIXES,
    open=open_zarr,
    check=check_zarr,
    create=create_zarr,
    folder=True,
    several=True,
)


def check_ours(folder: Path, refusal: str) -> None:
    """Raise a `FileError` if a folder has something that this program did not make."""
    try:
        if not folder.exists() and not folder.is_symlink():
            return
        foreign = _foreign(folder)
    except OSError as error:
        raise FileError(f"{refusal}: {reason_of(error)}") from error
    if foreign is not None:
        raise FileError(
            f"{refusal}: {foreign} was not made by this program, and would be lost; remove it "
            "yourself, or choose another name"
        )


_CHUNK = re.compile(r"\d+(\.\d+)*")
_OWN_FILES = frozenset({".zgroup", ".zattrs", ".zarray"})


def _foreign(folder: Path) -> Path | None:
    """Return the first entry of a folder that no image written here has, or None."""
    if folder.is_symlink() or not folder.is_dir() or not _has_own_mark(folder):
        return folder
    for root, folders, files in os.walk(folder, onerror=_raise):
        here = Path(root)
        top = here == folder
        for name in folders:
            # The array, and the levels of its chunks.
            known = name == "0" if top else _CHUNK.fullmatch(name) is not None
            if not known or (here / name).is_symlink():
                return here / name
        for name in files:
            known = name in _OWN_FILES or (top and name == _JOURNAL)
            chunk = not top and _CHUNK.fullmatch(name) is not None
            # zarr writes beside a chunk before it takes its place.
            partial = not top and name.endswith(".partial")
            if not (known or chunk or partial) or (here / name).is_symlink():
                return here / name
    return None


def _has_own_mark(folder: Path) -> bool:
    """Return whether a folder has our mark, or was only just begun."""
    if (folder / _JOURNAL).is_file():
        return True
    try:
        text = (folder / ".zattrs").read_text(encoding="utf-8")
        if OWN_KEY in json.loads(text):
            return True
    except (FileNotFoundError, ValueError, RecursionError):
        pass
    # Killed between its first files: there are no pixels in it that could be lost.
    return folder.name.endswith(".part") and not any((folder / "0").glob("[0-9]*"))


def _raise(error: OSError) -> None:
    raise error


_TILE = 512
_JOURNAL = ".written.jsonl"
_HEADS = (".zgroup", ".zarray", "zarr.json")


def is_zarr(path: Path) -> bool:
    """Return whether a folder is, or is meant to be, an image rather than one of images."""
    named = path.suffix.lower() in SUFFIXES
    return path.is_dir() and (named or any((path / name).is_file() for name in _HEADS))


def part_name(path: Path) -> Path:
    """Return under which name an image is until it is complete."""
    return path.with_name(f"{path.name}.part")


class ZarrWriter(ImageWriter):
    """Writes an OME-Zarr folder, beside its final name until it is complete.

    A journal in the folder has the range of the values of each block that was written, so that a
    later run knows the ranges of the channels.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._part = part_name(output.path)
        axes = output.description.axes
        self._stored = stored_axes(axes)
        self._order = tuple(axes.index(axis) for axis in self._stored)
        self._channel = next((i for i, axis in enumerate(axes) if axis in "CS"), None)
        count = 1 if self._channel is None else output.shape[self._channel]
        self._complete = False
        self._low, self._high = np.full(count, np.inf), np.full(count, -np.inf)
        self._array: Any = self._earlier() if output.resume else None
        self.resumed = self._array is not None
        if self._array is None:
            self._array = self._begun()

    def _earlier(self) -> Any:
        """Return the array that an earlier run left, if it is of this computation."""
        try:
            group: Any = zarr_package().open_group(self._part, mode="r+")
            array = group["0"]
            found = dict(group.attrs)
            own = dict(found.get(OWN_KEY, {}))
            # Killed once it was complete, but before it had its name.
            self._complete = own.get("complete") is True
            wanted = self._attributes(complete=self._complete)
            same = all(found.get(key) == value for key, value in wanted.items())
        except Exception:  # noqa: BLE001 - damaged in any way, it cannot be resumed
            return None
        layout = self._arranged(self._output.shape), self._arranged(_chunks(self._output))
        if not same or (array.shape, array.chunks) != layout or array.dtype != self._output.dtype:
            return None
        self._read_journal()
        return array

    def _begun(self) -> Any:
        check_ours(self._part, f"cannot write {self.path}")
        if self._part.exists():
            shutil.rmtree(self._part)
        group, array = _new_array(
            self._part,
            shape=self._arranged(self._output.shape),
            chunks=self._arranged(_chunks(self._output)),
            dtype=self._output.dtype,
        )
        group.attrs.update(self._attributes(complete=False))
        return array

    def _arranged(self, values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(values[axis] for axis in self._order)

    def _attributes(self, *, complete: bool) -> dict[str, Any]:
        return written_attributes(
            self._output.description, self._stored, run=self._output.run, complete=complete
        )

    def _put(self, region: Region, values: NDArray[Any]) -> None:
        ranges = self._ranges(region, values)
        # One at a time: after a failure zarr goes on with the others, while `abort` removes them.
        for part in _split(region, _chunks(self._output)):
            block = values[
                tuple(
                    slice(one.start - whole.start, one.stop - whole.start)
                    for one, whole in zip(part, region, strict=True)
                )
            ]
            self._array[tuple(part[axis] for axis in self._order)] = block.transpose(self._order)
        with (self._part / _JOURNAL).open("a", encoding="ascii") as journal:
            journal.write(json.dumps({"range": ranges}) + "\n")
        self._widen(ranges)

    def _ranges(self, region: Region, values: NDArray[Any]) -> list[tuple[int, float, float]]:
        """Return the smallest and largest value of each channel of a block."""
        first = 0 if self._channel is None else region[self._channel].start
        apart = values[None] if self._channel is None else np.moveaxis(values, self._channel, 0)
        found = []
        for number, channel in enumerate(apart, first):
            finite = channel[np.isfinite(channel)]
            if finite.size:
                found.append((number, float(finite.min()), float(finite.max())))
        return found

    def _widen(self, ranges: list[tuple[int, float, float]]) -> None:
        for number, low, high in ranges:
            self._low[number] = min(self._low[number], low)
            self._high[number] = max(self._high[number], high)

    def _read_journal(self) -> None:
        with suppress(FileNotFoundError):
            journal = self._part / _JOURNAL
            text = journal.read_text(encoding="ascii")
            if text and not text.endswith("\n"):
                # The last line was cut short; what follows must not be part of it.
                with journal.open("a", encoding="ascii") as stream:
                    stream.write("\n")
            for line in text.splitlines():
                with suppress(ValueError, KeyError, TypeError, IndexError):
                    self._widen(json.loads(line)["range"])

    def finish(self, bundle: Bundle | None = None) -> None:
        """Give the folder its final name."""
        with writing(self.path):
            check_free(self.path, force=self._output.force)
            # It may have become another one meanwhile.
            check_ours(self.path, f"cannot write {self.path}")
            if not self._complete:
                group = zarr_package().open_group(self._part, mode="r+")
                ranges = [
                    (low, high) if math.isfinite(low) else (0.0, 0.0)
                    for low, high in zip(self._low.tolist(), self._high.tolist(), strict=True)
                ]
                attributes = channel_attributes(self._output.description, ranges)
                group.attrs.update({**attributes, **self._attributes(complete=True)})
            (self._part / _JOURNAL).unlink(missing_ok=True)
        together = bundle if bundle is not None else Bundle(self.path)
        together.add(self._part, self.path)
        if bundle is None:
            together.commit()

    def suspend(self) -> None:
        """End writing; all of it is on disk already."""

    def abort(self) -> None:
        """Remove what is not complete."""
        shutil.rmtree(self._part, ignore_errors=True)


def _new_array(
    path: Path, *, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Any, Any]:
    """Return a new group, and a new array in it named 0, of Zarr's format 2."""
    from numcodecs import Blosc  # noqa: PLC0415  (takes a while)

    zarr = zarr_package()
    # What every reader of Zarr has.
    blosc = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
    options = {"shape": shape, "chunks": chunks, "dtype": dtype, "fill_value": 0}
    if hasattr(zarr, "create_group"):
        group = zarr.create_group(path, zarr_format=2)
        keys = {"name": "v2", "separator": "/"}
        array = group.create_array("0", compressors=blosc, chunk_key_encoding=keys, **options)
    else:
        # zarr 2, the last one for Python 3.10.
        group = zarr.open_group(path, mode="w")
        array = group.create_dataset("0", compressor=blosc, dimension_separator="/", **options)
    return group, array


def _split(region: Region, chunks: tuple[int, ...]) -> Iterator[Region]:
    """Yield the parts of a region that lie in one chunk each."""
    return itertools.product(
        *(
            [
                slice(max(first, axis.start), min(first + size, axis.stop))
                for first in range(axis.start // size * size, axis.stop, size)
            ]
            for axis, size in zip(region, chunks, strict=True)
        )
    )


def _chunks(output: Output) -> tuple[int, ...]:
    longest = {"Y": _TILE, "X": _TILE, "S": 3}
    return tuple(min(longest.get(axis, 1), length) for axis, length in output.lengths.items())
