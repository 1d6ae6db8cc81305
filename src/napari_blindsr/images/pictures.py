"""Pictures of cameras, screens and the web: PNG, JPEG, BMP, WebP and GIF, read whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from napari_blindsr.errors import FileError
from napari_blindsr.images.lazy import colour_last
from napari_blindsr.images.metadata import Description, ImageFile
from napari_blindsr.images.writer import Format

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.writer import ImageWriter, Output

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


def read_picture(file: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the pixels of a picture, upright, and what is to be said of them.

    Returns
    -------
    pixels : ndarray, (h, w) or (h, w, samples); (t, h, w) or (t, h, w, samples) of an animation
    notes : tuple of str

    Raises
    ------
    FileError
        If it is no such picture, or damaged.
    """
    kind = KINDS[file.suffix.lower()]
    try:
        if kind == "PNG" and _has_deep_colours(file):
            return _deep_colours(file), ()
        with Image.open(file, formats=(kind,)) as image:
            notes = _notes(image)
            count = getattr(image, "n_frames", 1) if kind in ANIMATED else 1
            frames = []
            for number in range(count):
                image.seek(number)
                frames.append(_pixels(image, kind))
    except UnidentifiedImageError as error:
        raise FileError(f"cannot read {file}: it is no {kind} image") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise FileError(f"cannot read {file}: damaged {kind} image ({error})") from error
    pixels = np.stack(frames) if count > 1 else frames[0]
    if kind == "GIF" and np.ptp(pixels, axis=-1).max() == 0:
        # GIF knows palettes only; this one is grey.
        pixels = pixels[..., 0]
    # Older versions of Pillow open 16-bit grey as 32-bit integers.
    return (pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels), notes


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


def _has_deep_colours(file: Path) -> bool:
    """Return whether a PNG file has 16 bits a sample and more than grey."""
    with file.open("rb") as stream:
        head = stream.read(26)
    return len(head) == 26 and head[24] == 16 and head[25] != 0


def _deep_colours(file: Path) -> NDArray[Any]:
    # Pillow would cut them to 8 bits without a word.
    import imagecodecs  # noqa: PLC0415  (takes a while)

    try:
        return np.asarray(imagecodecs.png_decode(file.read_bytes()))
    except imagecodecs.PngError as error:
        raise ValueError(error) from error


def open_picture(path: Path, axes: str | None, series: int | None) -> ImageFile:  # noqa: ARG001
    """Open a picture; the frames of an animation follow each other in time."""
    pixels, notes = read_picture(path)
    animated = pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] > 4)
    named = axes or {2: "YX", 3: "TYX" if animated else "YXS", 4: "TYXS"}[pixels.ndim]
    if len(named) != pixels.ndim:
        return ImageFile(array=pixels, description=Description(axes=named))
    array, named, notes = colour_last(pixels, named, notes)
    if not isinstance(array, np.ndarray):
        array = array[...]
    return ImageFile(array=array, description=Description(axes=named, notes=notes))


def refuse_to_write(output: Output) -> None:
    """Refuse to write: these formats lose what a restoration brings."""
    raise FileError(
        f"cannot write {output.path}: results are not written in this format; "
        "expected .tif, .tiff, .png, .npy or .zarr"
    )


def never_written(output: Output) -> ImageWriter:
    """Refuse, as `refuse_to_write`."""
    refuse_to_write(output)
    raise AssertionError


FORMAT = Format(
    name="pictures",
    suffixes=tuple(suffix for suffix in KINDS if suffix != ".png"),
    open=open_picture,
    check=refuse_to_write,
    create=never_written,
    written=False,
)
