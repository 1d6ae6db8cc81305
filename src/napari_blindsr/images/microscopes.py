"""Microscopes' own files, such as CZI, ND2 and LIF, through bioio and its readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import BlindSRError, FileError, InputError, needs
from napari_blindsr.images.lazy import colour_last, full_index, rearranged
from napari_blindsr.images.metadata import AxisStep, Description, ImageFile, PixelSize
from napari_blindsr.images.pictures import never_written, refuse_to_write
from napari_blindsr.images.writer import Format, choose

if TYPE_CHECKING:
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    Part = int | slice | EllipsisType

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
class Scene:
    """An image of a file that is read in parts.

    Attributes
    ----------
    path : Path
    name : str
        Of the scene in the file.
    image : bioio.BioImage
    """

    path: Path
    name: str
    image: Any = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return tuple(int(n) for n in self.image.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, in native byte order."""
        stored: np.dtype[Any] = np.dtype(self.image.dtype)
        return stored.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.image.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _scene, (self.path.absolute(), self.name)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts = full_index(index, self.shape)
        try:
            return np.asarray(self.image.dask_data[parts], self.dtype)
        except Exception as error:
            # Each reader fails in its own ways.
            raise FileError(f"cannot read {self.path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0] or type(error).__name__


def _opened(path: Path) -> Any:
    """Return a `bioio.BioImage`."""
    try:
        import bioio  # noqa: PLC0415  (an extra, which takes a while)
    except ImportError as error:
        raise FileError(f"cannot read {path}: {needs('this format', 'bioio')}") from error
    reader = READERS.get(path.suffix.lower())
    try:
        return bioio.BioImage(path)
    except Exception as error:
        # Each reader fails in its own ways.
        hint = f"; bioio reads such files with: pip install {reader}" if reader else ""
        raise FileError(f"cannot read {path}: {_first_line(error)}{hint}") from error


def _scene(path: Path, name: str) -> Scene:
    image = _opened(path)
    image.set_scene(name)
    return Scene(path, name, image)


def open_scene(path: Path, axes: str | None, series: int | None) -> ImageFile:
    """Open an image of a file, of which only what is sliced is read."""
    image = _opened(path)
    try:
        return _open(path, image, axes, series)
    except BlindSRError:
        raise
    except Exception as error:
        # Each reader fails in its own ways.
        raise FileError(f"cannot read {path}: {_first_line(error)}") from error


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
    known = [size is not None and size > 0 for size in (sizes.Y, sizes.X)]
    channels = [str(name) for name in image.channel_names or ()]
    return ImageFile(
        array=array,
        description=Description(
            axes=kept,
            pixel_size=PixelSize(y=float(sizes.Y), x=float(sizes.X), unit="µm")
            if all(known)
            else None,
            steps=(AxisStep(axis="Z", size=float(sizes.Z), unit="µm"),)
            if "Z" in kept and sizes.Z
            else (),
            channel_names=tuple(channels) if "C" in kept else (),
            notes=notes,
        ),
    )


FORMAT = Format(
    name="microscopes",
    suffixes=tuple(READERS),
    open=open_scene,
    check=refuse_to_write,
    create=never_written,
    several=True,
    written=False,
)
