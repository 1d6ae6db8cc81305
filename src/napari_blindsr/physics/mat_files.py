"""Matrices of MATLAB files up to version 7, checked before use.

A damaged or malicious file raises a `FileError`: every length is compared with the size of the
data, and no compressed part may exceed `LARGEST`.

Source: MathWorks, MAT-File Format (R2023a), chapter 1.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError
from napari_blindsr.images.atomic import check_plain, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


LARGEST = 1 << 26
"""Largest size in bytes of a file, and of its uncompressed data; a kernel takes some thousands."""

_HEAD = 128
_MATRIX, _COMPRESSED = 14, 15
# Data types of version 5, and the numeric classes of arrays (mxDOUBLE_CLASS to mxUINT64_CLASS).
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"} | {
    13: "u8"
}
_CLASSES = range(6, 16)
_VERSION_4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """Something is not where it should be."""


def read_matrices(path: Path) -> dict[str, NDArray[Any]]:
    """Return the real numeric matrices of a file, by their names.

    Raises
    ------
    FileError
        If it is no such file, or damaged.
    """
    refusal = f"cannot read {path}"
    check_plain(path, refusal)
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise FileError(f"{refusal}: {reason_of(error)}") from error
    if len(data) > LARGEST:
        raise FileError(f"{refusal}: it has more than {LARGEST} bytes; expected a kernel")
    if data[:19] == b"MATLAB 7.3 MAT-file":
        raise FileError(f"{refusal}: MATLAB file of version 7.3; expected version 7 or older")
    try:
        return dict(_version_5(data) if _order_of(data) else _version_4(data))
    except (_Damaged, zlib.error, struct.error, UnicodeDecodeError) as error:
        raise FileError(f"{refusal}: it is no MATLAB file, or damaged ({error})") from error


def _order_of(data: bytes) -> str:
    """Return the byte order of a file of version 5, or "" if it is none."""
    return {b"IM": "<", b"MI": ">"}.get(data[126:_HEAD], "")


@dataclass(frozen=True)
class _Element:
    kind: int
    data: bytes


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            # Up to four bytes are packed into the tag.
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise _Damaged("a packed element is too long")
            yield _Element(kind, data[at + 4 : at + 4 + length])
            at += 8
            continue
        if length > len(data) - at - 8:
            raise _Damaged(f"{length} bytes announced, {len(data) - at - 8} left")
        yield _Element(kind, data[at + 8 : at + 8 + length])
        # Compressed elements are not padded.
        at += 8 + length + (0 if kind == _COMPRESSED else -length % 8)


def _version_5(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    order = _order_of(data)
    room = LARGEST
    for outer in _elements(data[_HEAD:], order):
        inside: list[_Element] = [outer]
        if outer.kind == _COMPRESSED:
            unpacked = _unpacked(outer.data, room)
            room -= len(unpacked)
            inside = list(_elements(unpacked, order))
        for element in inside:
            if element.kind == _MATRIX:
                yield from _matrix(element.data, order)


def _unpacked(data: bytes, room: int) -> bytes:
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(data, max(1, room))
    if not unpacker.eof:
        raise _Damaged("compressed data are too large, or cut short")
    return found


def _matrix(data: bytes, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and values of an array if it is a real numeric matrix."""
    parts = list(_elements(data, order))
    if len(parts) < 4 or len(parts[0].data) < 8:
        return
    (flags,) = struct.unpack_from(f"{order}I", parts[0].data)
    lengths = np.frombuffer(parts[1].data[: len(parts[1].data) // 4 * 4], f"{order}i4").tolist()
    values = parts[3]
    if flags & 0xFF not in _CLASSES or flags & 0x0800 or len(lengths) != 2:
        return
    yield parts[2].data.decode("latin-1"), _shaped(values.data, _type(values, order), lengths)


def _type(values: _Element, order: str) -> np.dtype[Any]:
    if values.kind not in _NUMBERS:
        raise _Damaged(f"values of type {values.kind}")
    return np.dtype(order + _NUMBERS[values.kind])


def _shaped(data: bytes, dtype: np.dtype[Any], lengths: list[int]) -> NDArray[Any]:
    rows, columns = lengths
    count = rows * columns
    if min(rows, columns) < 0 or count * dtype.itemsize > len(data):
        raise _Damaged(f"{rows} × {columns} values announced, {len(data) // dtype.itemsize} there")
    flat = np.frombuffer(data, dtype, count)
    return flat.reshape(rows, columns, order="F").astype(dtype.newbyteorder("="))


def _version_4(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    at, found = 0, False
    while at + 20 <= len(data):
        kind, rows, columns, complex_, named = struct.unpack_from("<5i", data, at)
        order = "<"
        if not 0 <= kind < 5000:
            kind, rows, columns, complex_, named = struct.unpack_from(">5i", data, at)
            order = ">"
        machine, rest = divmod(kind, 1000)
        reserved, rest = divmod(rest, 100)
        precision, text = divmod(rest, 10)
        fits = machine == (order == ">") and reserved == 0 and precision in _VERSION_4
        if not fits or complex_ not in (0, 1) or min(rows, columns) < 0 or not 0 < named < 256:
            raise _Damaged("no head of a matrix")
        dtype = np.dtype(order + _VERSION_4[precision])
        start = at + 20 + named
        values = _shaped(data[start:], dtype, [rows, columns])
        if text == 0 and not complex_:
            yield data[at + 20 : start].rstrip(b"\0").decode("latin-1"), values
        at, found = start + values.nbytes * (1 + complex_), True
    if not found:
        raise _Damaged("no matrix")
