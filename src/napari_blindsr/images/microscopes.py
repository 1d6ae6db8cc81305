"""Microscopes' own files, such as CZI, ND2 and LIF, through bioio and its readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError, InputError, needs, reading
from napari_blindsr.images.lazy import Sliced, colour_last, rearranged
from napari_blindsr.images.metadata import AxisStep, Description, ImageFile, PixelSize
from napari_blindsr.images.writer import Format, choose, refuse_to_write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.lazy import FullIndex

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


FORMAT = Format(
    name="microscopes",
    suffixes=tuple(READERS),
    open=open_scene,
    check=refuse_to_write,
    create=None,
    several=True,
)
