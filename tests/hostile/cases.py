"""Bad inputs: valid files of each format, damaged by a seed, and files that were never valid."""

from __future__ import annotations

import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.io import savemat

from napari_blindsr.images.files import create_image
from napari_blindsr.images.metadata import Description, PixelSize

GOOD = np.random.default_rng(1).integers(0, 255, (2, 24, 28)).astype(np.uint8)
KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16.0


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes
    ----------
    name : str
        Fit to be a test's.
    make : callable
        Writes it into an empty folder, and returns the arguments of the command line, in which
        ``{out}`` stands for a file that may be written.
    """

    name: str
    make: Callable[[Path], list[str]]


def restoring(name: str) -> list[str]:
    """Return the arguments that restore a file in the folder."""
    known = ["--kernel", "known.npy", "--finish", "measurement"]
    return ["restore", name, "-o", "{out}", "-s", "2", *known]


def with_kernel(name: str) -> list[str]:
    """Return the arguments that take a kernel from a file in the folder."""
    return ["restore", "good.npy", "-o", "{out}", "-s", "2", "--kernel", name]


def with_mask(name: str) -> list[str]:
    """Return the arguments that take a mask from a file in the folder."""
    return [*restoring("good.npy"), "--mask", name]


def basics(folder: Path) -> None:
    """Write a good image and a good kernel into a folder."""
    np.save(folder / "good.npy", GOOD[0])
    np.save(folder / "known.npy", KERNEL)


def _tif(path: Path, **options: object) -> None:
    tifffile.imwrite(path, GOOD, photometric="minisblack", **options)  # type: ignore[arg-type]


def _imagej(path: Path) -> None:
    tifffile.imwrite(path, GOOD, imagej=True)


def _ome(path: Path) -> None:
    size = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    _tif(path, metadata={"axes": "ZYX", **size}, ome=True)


def _zarr(path: Path) -> None:
    description = Description(axes="ZYX", pixel_size=PixelSize(y=0.1, x=0.1, unit="µm"))
    writer = create_image(path, shape=GOOD.shape, dtype=GOOD.dtype, description=description)
    writer[(slice(None),) * 3] = GOOD
    writer.finish()


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[str], list[str]]]] = {
    "a.tif": (_tif, restoring),
    "deflate.tif": (lambda path: _tif(path, compression="zlib"), restoring),
    "tiled.tif": (lambda path: _tif(path, tile=(16, 16)), restoring),
    "imagej.tif": (_imagej, restoring),
    "a.ome.tif": (_ome, restoring),
    "a.png": (lambda path: Image.fromarray(GOOD[0]).save(path), restoring),
    "a.npy": (lambda path: np.save(path, GOOD[0]), restoring),
    "a.zarr": (_zarr, restoring),
    "k.mat": (lambda path: savemat(path, {"Kernel": KERNEL}), with_kernel),
    "kz.mat": (lambda path: savemat(path, {"Kernel": KERNEL}, do_compression=True), with_kernel),
    "k.npy": (lambda path: np.save(path, KERNEL), with_kernel),
    "m.png": (lambda path: Image.fromarray(GOOD[0] & 128).save(path), with_mask),
}
"""A good file of each format, and what is done with it."""


def damaged(name: str, number: int) -> Case:
    """Return a good file with some of its bytes changed, or its end cut off."""

    def make(folder: Path) -> list[str]:
        write, arguments = FORMATS[name]
        write(folder / name)
        rng = np.random.default_rng([sum(name.encode()), number])
        files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        target = files[rng.integers(len(files))] if files else folder / name
        data = bytearray(target.read_bytes())
        if number % 6 == 5:
            data = data[: rng.integers(len(data))]
        else:
            # Heads are short; what matters stands in them.
            reach = len(data) if number % 2 else min(len(data), 400)
            for at in rng.integers(0, reach, rng.integers(1, 5)):
                data[at] = rng.integers(256)
        target.write_bytes(data)
        return arguments(name)

    return Case(f"{name}-{number}", make)


MUTATIONS = 120
"""Of each format."""


def mutations() -> Iterator[Case]:
    """Yield damaged files of all formats, those of one after those of another."""
    for number in range(MUTATIONS):
        for name in FORMATS:
            yield damaged(name, number)


def contents() -> Iterator[Case]:
    """Yield files that are no image at all, under the name of each format."""
    texts = {
        "empty": b"",
        "text": b"this is no image\n",
        "zeros": bytes(4096),
        "noise": np.random.default_rng(3).bytes(4096),
        "html": b"<!doctype html><title>404</title>",
        "json": b'{"a": ' * 2000,
        "elf": b"\x7fELF" + bytes(100),
        "zip": b"PK\x03\x04" + bytes(100),
    }
    for name, (_, arguments) in FORMATS.items():
        for kind, content in texts.items():
            if not name.endswith(".zarr"):
                yield Case(f"{kind}-as-{name}", _written(name, content, arguments))


def _written(
    name: str, content: bytes, arguments: Callable[[str], list[str]]
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return arguments(name)

    return make


def arrays() -> Iterator[Case]:
    """Yield arrays that are no images, of shapes, types and values of all kinds."""
    grey = GOOD[0].astype(np.float64)
    values = {
        "nothing": np.zeros((0, 0)),
        "no-rows": np.zeros((0, 9)),
        "number": np.float64(3),
        "row": np.arange(9.0),
        "one-pixel": np.ones((1, 1)),
        "column": np.arange(40.0).reshape(40, 1),
        "20-dimensional": np.zeros((1,) * 20),
        "12-dimensional": np.zeros((2,) * 10 + (8, 8)),
        "complex": grey + 1j,
        "boolean": grey > 99,
        "times": grey.astype("datetime64[s]"),
        "spans": grey.astype("timedelta64[s]"),
        "text": grey.astype("U8"),
        "bytes": grey.astype("S8"),
        "structured": np.zeros((9, 9), [("a", "f4"), ("b", "i2")]),
        "void": np.zeros((9, 9), "V7"),
        "nan": np.full((16, 16), np.nan),
        "infinite": np.full((16, 16), np.inf),
        "constant": np.full((16, 16), 7.0),
        "half-nan": np.where(np.arange(28) < 14, np.nan, grey),
        "huge": grey * 1e300,
        "tiny": grey * 1e-310,
        "small-on-large": grey + 1e15,
        "most": np.where(grey > 99, np.finfo(np.float64).max, -np.finfo(np.float64).max),
        "negative": -grey,
        "longest-double": grey.astype(np.longdouble),
        "half": grey.astype(np.float16),
        "four-samples": np.stack([grey] * 4, axis=-1),
        "two-samples": np.stack([grey] * 2, axis=-1),
        "big-endian": grey.astype(">f8"),
        "long-and-thin": np.random.default_rng(0).random((2, 3000)),
    }
    for name, array in values.items():
        for arguments in (restoring, with_kernel, with_mask):
            yield Case(f"{name}-{arguments.__name__}", _saved(array, arguments))


def _saved(array: np.ndarray, arguments: Callable[[str], list[str]]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        np.save(folder / "a.npy", array)
        return arguments("a.npy")

    return make


def _npy_head(text: str) -> bytes:
    head = text.encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def lies() -> Iterator[Case]:
    """Yield heads that promise what is not there."""
    shape = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"
    heads = {
        "giga": shape % ("<f8", "(1000000000, 1000000000)"),
        "overflow": shape % ("<f8", f"({2**62}, 16)"),
        "negative": shape % ("<f8", "(-3, 5)"),
        "objects": shape % ("|O", "(3, 5)"),
        "no-type": shape % ("nonsense", "(3, 5)"),
        "code": "__import__('os').system('touch hacked')",
        "nested": "(" * 3000 + ")" * 3000,
        "words": shape % ("<f8", "('a', 'b')"),
    }
    for name, head in heads.items():
        for arguments in (restoring, with_kernel):
            make = _written("a.npy", _npy_head(head) + bytes(64), arguments)
            yield Case(f"npy-{name}-{arguments.__name__}", make)
    for bits, colour in ((8, 0), (8, 2), (16, 0), (16, 2), (8, 3), (7, 0), (8, 9)):
        for side in (0, 1 << 30, 60000):
            yield Case(
                f"png-{bits}-{colour}-{side}",
                _written("a.png", _png(side, bits, colour), restoring),
            )


def _png(side: int, bits: int, colour: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _fifo(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)


def _socket(folder: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)
        try:
            listener.bind(name)
        finally:
            os.chdir(here)


def _device(folder: Path, name: str) -> None:
    (folder / name).symlink_to("/dev/zero")


def _loop(folder: Path, name: str) -> None:
    (folder / name).symlink_to(name)


def _dangling(folder: Path, name: str) -> None:
    (folder / name).symlink_to("nowhere")


def _folder(folder: Path, name: str) -> None:
    (folder / name).mkdir()


def things() -> Iterator[Case]:
    """Yield what is no file, under the name of each format."""
    for make_thing in (_fifo, _socket, _device, _loop, _dangling, _folder):
        for name, (_, arguments) in FORMATS.items():
            yield Case(f"{make_thing.__name__[1:]}-{name}", _made(make_thing, name, arguments))


def _made(
    make_thing: Callable[[Path, str], None], name: str, arguments: Callable[[str], list[str]]
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        make_thing(folder, name)
        return arguments(name)

    return make


def names() -> Iterator[Case]:
    """Yield names that systems or terminals choke on."""
    odd = {
        "longest": "n" * 251 + ".npy",
        "too-long": "n" * 300 + ".npy",
        "not-utf-8": os.fsdecode(b"a\xff\xfe.npy"),
        "newline": "a\nb.npy",
        "escape": "a\x1b[31mb.npy",
        "markup": "[red]a[bold].npy",
        "dash": "./-o.npy",
        "space": " .npy",
        "dots": "....npy",
        "upper": "A.NPY",
        "wild": "a[0-9]*.npy",
    }
    for kind, name in odd.items():
        yield Case(f"name-{kind}", _named(name))
        yield Case(f"output-{kind}", _output(name))


def _named(name: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        if len(name) < 256:
            np.save(folder / name, GOOD[0])
        return restoring(name)

    return make


def _output(name: str) -> Callable[[Path], list[str]]:
    def make(_folder: Path) -> list[str]:
        arguments = restoring("good.npy")
        arguments[arguments.index("{out}")] = name
        return arguments

    return make


def zarrs() -> Iterator[Case]:
    """Yield folders whose metadata are not what they should be."""
    attributes: dict[str, object] = {
        "nothing": {},
        "list": [],
        "nested": None,
        "no-datasets": {"multiscales": [{"axes": []}]},
        "outside": {"multiscales": [{"datasets": [{"path": "../../other"}]}]},
        "axes": {"multiscales": [{"axes": ["a", "b"], "datasets": [{"path": "0"}]}]},
        "numbers": {"multiscales": 5},
        "plate": {"plate": {}},
        "scale": {
            "multiscales": [
                {
                    "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"],
                    "datasets": [
                        {
                            "path": "0",
                            "coordinateTransformations": [{"type": "scale", "scale": ["a", 1, 1]}],
                        }
                    ],
                }
            ]
        },
    }
    for kind, found in attributes.items():
        text = json.dumps(found) if found is not None else '{"a":' * 5000 + "1" + "}" * 5000
        yield Case(f"zarr-{kind}", _attributed(text))
    arrays_ = {"shape": [10**9, 10**9], "chunks": [0, 0], "dtype": "|O", "zarr_format": 99}
    for key, value in arrays_.items():
        yield Case(f"zarr-array-{key}", _changed_array(key, value))


def _attributed(text: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _zarr(folder / "a.zarr")
        (folder / "a.zarr" / ".zattrs").write_text(text, encoding="utf-8")
        return restoring("a.zarr")

    return make


def _changed_array(key: str, value: object) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _zarr(folder / "a.zarr")
        head = folder / "a.zarr" / "0" / ".zarray"
        head.write_text(json.dumps({**json.loads(head.read_text()), key: value}))
        return restoring("a.zarr")

    return make


def all_cases() -> list[Case]:
    """Return all bad inputs, always in the same order."""
    found: list[Case] = []
    for kind in (contents, arrays, lies, things, names, zarrs, mutations):
        found.extend(kind())
    return found
