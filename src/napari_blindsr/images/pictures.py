"""Pictures of cameras, screens and the web, read whole; microscopes' own files, through bioio."""

from __future__ import annotations

import io
import struct
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from napari_blindsr.errors import FileError, InputError, needs, reading
from napari_blindsr.images.lazy import Sliced, Stored, colour_last, rearranged
from napari_blindsr.images.metadata import AxisStep, Description, ImageFile, PixelSize
from napari_blindsr.images.tiff_meaning import check_expansion
from napari_blindsr.images.writer import Format, choose, refuse_to_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.lazy import FullIndex


KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
}
"""What Pillow calls the pictures of each extension."""

ANIMATED = ("GIF", "WEBP")


@contextmanager
def _reading(file: Path, kind: str) -> Iterator[None]:
    """Turn whatever Pillow says of a picture into a `FileError`."""
    with reading(file, f"damaged {kind} image ({{}})"), warnings.catch_warnings():
        # How many pixels there may be is checked here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except UnidentifiedImageError as error:
            raise FileError(f"cannot read {file}: it is no {kind} image") from error


def read_picture(file: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the pixels of a picture, upright, and notes on what was left out.

    Pixels are (h, w) or (h, w, samples); of an animation (t, h, w) or (t, h, w, samples).
    """
    kind = KINDS[file.suffix.lower()]
    with _reading(file, kind):
        if kind == "PNG" and _has_deep_colours(file):
            return _deep_colours(file), ()
        with Image.open(file, formats=(kind,)) as image:
            check_size(file, image.size)
            notes = _notes(image)
            count = getattr(image, "n_frames", 1) if kind in ANIMATED else 1
            frames = []
            for number in range(count):
                image.seek(number)
                frames.append(_pixels(image, kind))
    pixels = np.stack(frames) if count > 1 else frames[0]
    if kind == "GIF" and np.ptp(pixels, axis=-1).max() == 0:
        # GIF knows palettes only; this one is grey.
        pixels = pixels[..., 0]
    # Older versions of Pillow open 16-bit grey as 32-bit integers.
    return (pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels), notes


MOST_PIXELS = 1 << 30
"""Of a picture, which is decoded in one piece."""


def check_size(file: Path, size: tuple[int, int]) -> None:
    """Raise a `FileError` if a picture of (width, height) does not fit its file, or the memory."""
    width, height = size
    if not 0 < height * width <= MOST_PIXELS:
        raise FileError(
            f"cannot read {file}: {height} × {width} pixels; expected at least one, and at most "
            f"{MOST_PIXELS}"
        )
    check_expansion(file, height * width, file.stat().st_size)


def _pixels(image: Image.Image, kind: str) -> NDArray[Any]:
    """Return the pixels of a frame as a person sees it: turned upright, palettes resolved."""
    upright = ImageOps.exif_transpose(image)
    palette = "RGBA" if "transparency" in image.info else "RGB"
    mode = {"P": palette, "PA": "RGBA", "1": "L", "CMYK": "RGB", "YCbCr": "RGB"}
    return np.asarray(upright.convert("RGB" if kind == "GIF" else mode.get(image.mode, image.mode)))


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    if image.mode == "CMYK":
        notes.append("its colours were converted from CMYK to RGB")
    profile = image.info.get("icc_profile")
    if profile:
        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            name = ImageCms.getProfileDescription(opened).strip()
        except (ImageCms.PyCMSError, OSError):
            name = "unknown"
        # What is shown without a profile is taken for sRGB.
        if "srgb" not in name.lower():
            notes.append(f"its colour profile ({name}) is not applied")
    return tuple(notes)


_PNG_HEAD = 26
_SAMPLES: dict[int, tuple[int, ...]] = {0: (), 2: (3,), 3: (3,), 4: (), 6: (3,)}
"""Samples that are kept of PNG's types of colour: grey, RGB, palette, grey with alpha, RGBA."""
_ORIENTATION = 274


def _png_head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_PNG_HEAD)


def _has_deep_colours(file: Path) -> bool:
    """Return whether a PNG file has 16 bits a sample and more than grey."""
    head = _png_head(file)
    return len(head) == _PNG_HEAD and head[24] == 16 and head[25] != 0


def _deep_colours(file: Path) -> NDArray[Any]:
    # Pillow would cut them to 8 bits without a word.
    import imagecodecs  # noqa: PLC0415  (takes a while)

    try:
        return np.asarray(imagecodecs.png_decode(file.read_bytes()))
    except imagecodecs.PngError as error:
        raise ValueError(error) from error


class PngImage(Stored):
    """The image of a PNG file, without alpha, which is read whole when it is first sliced."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self._pixels: NDArray[Any] | None = None

    def __reduce__(self) -> tuple[type[PngImage], tuple[Any, ...]]:
        return PngImage, (self.path.absolute(), self.shape, self.dtype)

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        if self._pixels is None:
            pixels, _ = read_picture(self.path)
            if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
                pixels = pixels[..., :-1]
            if pixels.ndim == 3 and pixels.shape[-1] == 1:
                pixels = pixels[..., 0]
            if pixels.shape != self.shape or pixels.dtype != self.dtype:
                raise FileError(f"cannot read {self.path}: damaged PNG image, or another than was")
            pixels.flags.writeable = False
            self._pixels = pixels
        return self._pixels[parts]


def _open_png(file: Path) -> tuple[PngImage, tuple[str, ...]]:
    """Return the image of a file of which the head alone is read, and notes."""
    head = _png_head(file)
    known = len(head) == _PNG_HEAD and head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR"
    if not known or head[25] not in _SAMPLES or head[24] not in (1, 2, 4, 8, 16):
        raise FileError(f"cannot read {file}: it is no PNG image")
    width, height = struct.unpack(">II", head[16:24])
    bits, colour = head[24], head[25]
    check_size(file, (width, height))
    alpha, turned = colour in (4, 6), False
    notes: tuple[str, ...] = ()
    if bits < 16 or colour == 0:
        with _reading(file, "PNG"), Image.open(file, formats=("PNG",)) as image:
            alpha = alpha or (image.mode == "P" and "transparency" in image.info)
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            notes = _notes(image)
    if alpha:
        notes = (*notes, "the alpha channel was dropped")
    size = (width, height) if turned else (height, width)
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    return PngImage(file, (*size, *_SAMPLES[colour]), dtype), notes


def open_picture(path: Path, axes: str | None, series: int | None) -> ImageFile:  # noqa: ARG001
    """Open a picture; the frames of an animation follow each other in time."""
    if path.suffix.lower() == ".png":
        image, notes = _open_png(path)
        named = axes or ("YX" if image.ndim == 2 else "YXS")
        return ImageFile(array=image, description=Description(axes=named, notes=notes))
    pixels, notes = read_picture(path)
    animated = pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] > 4)
    named = axes or {2: "YX", 3: "TYX" if animated else "YXS", 4: "TYXS"}[pixels.ndim]
    # What pictures have besides grey, or red, green and blue, is opacity.
    alpha = named.endswith("S") and pixels.shape[-1] in (2, 4)
    array, named, notes = colour_last(pixels, named, notes, alpha=alpha)
    if not isinstance(array, np.ndarray):
        array = array[...]
    return ImageFile(array=array, description=Description(axes=named, notes=notes))


FORMAT = Format(
    name="pictures",
    suffixes=tuple(suffix for suffix in KINDS if suffix != ".png"),
    open=open_picture,
    check=refuse_to_write,
    create=None,
)


READERS = {
    ".czi": "bioio-czi",
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
    ".sldy": "bioio-sldy",
    ".dcm": "bioio-bioformats",
    ".fits": "bioio-bioformats",
    ".vsi": "bioio-bioformats",
    ".oib": "bioio-bioformats",
    ".oif": "bioio-bioformats",
}
"""Which package reads the files of each extension."""


@dataclass(frozen=True)
class Scene(Sliced):
    """An image, a `bioio.BioImage`, of a file that may hold several; each has a name."""

    path: Path
    name: str
    image: Any = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(int(n) for n in self.image.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values, in native byte order."""
        stored: np.dtype[Any] = np.dtype(self.image.dtype)
        return stored.newbyteorder("=")

    def __reduce__(self) -> tuple[Any, ...]:
        return _scene, (self.path.absolute(), self.name)

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        with reading(self.path):
            return np.asarray(self.image.dask_data[parts], self.dtype)


def _opened(path: Path) -> Any:
    """Return a `bioio.BioImage`."""
    try:
        import bioio  # noqa: PLC0415  (an extra, which takes a while)
    except ImportError as error:
        raise FileError(f"cannot read {path}: {needs('this format', 'bioio')}") from error
    reader = READERS.get(path.suffix.lower())
    hint = f"; bioio reads such files with: pip install {reader}" if reader else ""
    with reading(path, "{}" + hint):
        return bioio.BioImage(path)


def _scene(path: Path, name: str) -> Scene:
    image = _opened(path)
    image.set_scene(name)
    return Scene(path, name, image)


def open_scene(path: Path, axes: str | None, series: int | None) -> ImageFile:
    """Open an image of a file, of which only what is sliced is read."""
    image = _opened(path)
    with reading(path):
        return _open(path, image, axes, series)


def _open(path: Path, image: Any, axes: str | None, series: int | None) -> ImageFile:
    names = [str(name) for name in image.scenes]
    number = choose(path, names, series)
    image.set_scene(names[number])
    scene = Scene(path, names[number], image)
    order = str(image.dims.order)
    # bioio gives every image T, C and Z; what is of length 1 says nothing.
    kept = "".join(a for a, n in zip(order, scene.shape, strict=True) if n > 1 or a in "YXS")
    array = rearranged(scene, order, kept)
    if axes is not None:
        if len(axes) != len(kept):
            raise InputError(f"axes are {axes!r}; the file has {len(kept)}, {kept}")
        kept = axes
    array, kept, notes = colour_last(array, kept, ())
    sizes = image.physical_pixel_sizes
    size = None
    if all(side is not None and side > 0 for side in (sizes.Y, sizes.X)):
        size = PixelSize(y=float(sizes.Y), x=float(sizes.X), unit="µm")
    depth = "Z" in kept and sizes.Z
    return ImageFile(
        array=array,
        description=Description(
            axes=kept,
            pixel_size=size,
            steps=(AxisStep(axis="Z", size=float(sizes.Z), unit="µm"),) if depth else (),
            channel_names=tuple(map(str, image.channel_names or ())) if "C" in kept else (),
            notes=notes,
        ),
    )


MICROSCOPES = Format(
    name="microscopes",
    suffixes=tuple(READERS),
    open=open_scene,
    check=refuse_to_write,
    create=None,
    several=True,
)
