"""MATLAB files: what SciPy writes is read as SciPy reads it, and damage is never trusted."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from napari_blindsr.errors import BlindSRError, FileError, InputError
from napari_blindsr.physics import mat_files
from napari_blindsr.physics.kernel_files import read_kernel
from napari_blindsr.physics.mat_files import read_matrices
from tests.helpers import reference_data

RNG = np.random.default_rng(5)
TYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_what_scipy_writes(tmp_path: Path, dtype: str, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    values = RNG.integers(0, 100, (5, 7)).astype(dtype)
    others = {
        "text": "words",
        "cell": np.array([[1, "a"]], dtype=object),
        "cube": np.ones((2, 3, 4)),
    }
    savemat(path, {"Kernel": values, "x": np.eye(3), **others}, do_compression=compressed)
    found = read_matrices(path)
    np.testing.assert_array_equal(found["Kernel"], values)
    np.testing.assert_array_equal(found["x"], np.eye(3))
    assert set(found) == {"Kernel", "x"}
    np.testing.assert_array_equal(read_kernel(path), values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u2", "u1"])
def test_version_4(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.mat"
    values = RNG.integers(0, 100, (5, 7)).astype(dtype)
    savemat(path, {"k": values, "z": 1j * np.ones((2, 2)), "b": np.eye(2)}, format="4")
    found = read_matrices(path)
    np.testing.assert_array_equal(found["k"], values)
    np.testing.assert_array_equal(found["b"], np.eye(2))
    assert set(found) == {"k", "b"}


def test_published_kernels() -> None:
    for path in sorted(reference_data().rglob("*.mat")):
        expected = loadmat(path)
        for name, values in read_matrices(path).items():
            np.testing.assert_array_equal(values, expected[name])


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def test_bombs_and_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_files, "LARGEST", 1 << 16)
    path = tmp_path / "a.mat"
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    huge = element(
        14,
        element(6, struct.pack("<II", 6, 0))
        + element(5, struct.pack("<ii", 40000, 40000))
        + element(1, b"k")
        + element(9, bytes(64)),
    )
    for content in (
        head + struct.pack("<II", 15, 100) + zlib.compress(bytes(1 << 20)).ljust(100, b"\0"),
        head + struct.pack("<II", 14, 2**32 - 1),
        head + huge,
        bytes(1 << 17),
        b"",
        head[:100],
        head,
    ):
        path.write_bytes(content)
        with pytest.raises((FileError, InputError)):
            read_kernel(path)


def complaint(path: Path) -> str:
    try:
        read_kernel(path)
    except BlindSRError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("form", ["4", "5", "5z"])
def test_any_damage_is_an_error_of_one_line(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"Kernel": RNG.random((9, 9))}, format=form[0], do_compression=form == "5z")
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for at in RNG.integers(0, len(data), RNG.integers(1, 4)):
            data[at] = RNG.integers(256)
        path.write_bytes(bytes(data[: RNG.integers(len(data) // 2, len(data) + 1)]))
        words = complaint(path)
        assert "\n" not in words
        refused += bool(words)
    assert refused > 100
