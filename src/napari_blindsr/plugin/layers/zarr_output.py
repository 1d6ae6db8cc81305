"""Results that are written to disk plane by plane, and open lazily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.images.axes import SAMPLES
from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.outputs import finer_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.images.axes import Index, Layout
    from napari_blindsr.images.metadata import Description
    from napari_blindsr.images.writer import ImageWriter
    from napari_blindsr.plugin.layers.inputs import StackInput
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.outputs import Kept
    from napari_blindsr.stacks.result import PlaneRecord, StackKernel


class WriterTarget:
    """Writes the pixels of a stack's result to a file."""

    def __init__(self, writer: ImageWriter) -> None:
        self._writer = writer

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block of the result."""
        self._writer.write(index, block)

    def finished(self, position: Index) -> bool:  # noqa: ARG002 - no earlier run left anything
        """Return False: the file is always a new one."""
        return False

    def note(self, position: Index, record: PlaneRecord, kernel: StackKernel | None = None) -> None:
        """Do nothing: the file keeps no records of planes."""

    def kept(self) -> Sequence[Kept]:
        """Return nothing: the file is always a new one."""
        return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """A result in a file, with its lazy array in the axes of the source."""

    path: Path
    array: Any


class ZarrOutput:
    """A new OME-Zarr folder within a folder, for the result of a stack."""

    def __init__(self, folder: Path, source: StackInput, settings: Settings) -> None:
        self.path = _free_path(folder, f"{source.name} x{settings.scale} {settings.method}")
        self._source = source
        self._settings = settings

    @contextmanager
    def writing(self) -> Iterator[WriterTarget]:
        """Yield a target for the result; an error within removes the file.

        Raises a `FileError` if it cannot be written there, or OME-Zarr cannot hold the axes.
        """
        # Not before now: this imports zarr, which takes a while.
        from napari_blindsr.images.files import create_image  # noqa: PLC0415
        from napari_blindsr.stacks.outputs import result_type  # noqa: PLC0415

        writer = create_image(
            self.path,
            shape=self._layout.shape,
            dtype=result_type(self._source.options.dtype, self._source.kind),
            description=_description(self._source, self._settings),
        )
        try:
            yield WriterTarget(writer)
            writer.finish()
        except BaseException:
            writer.abort()
            raise

    def open(self) -> Stored:
        """Return the file opened lazily."""
        import dask.array as da  # noqa: PLC0415

        from napari_blindsr.images.files import open_image  # noqa: PLC0415

        image = open_image(self.path)
        order = [image.description.axes.index(axis) for axis in self._source.layout.axes]
        tile = {"Y": 512, "X": 512, SAMPLES: 3}
        chunks = tuple(tile.get(axis, 1) for axis in image.description.axes)
        array = da.from_array(image.array, chunks=chunks, fancy=False).transpose(order)
        return Stored(path=self.path, array=array)

    @property
    def _layout(self) -> Layout:
        from napari_blindsr.images.axes import parse_selection  # noqa: PLC0415

        layout, options = self._source.layout, self._source.options
        region = options.region or Box.whole(layout.plane_shape)
        shape = region.scaled(self._settings.scale).shape
        return layout.resized(parse_selection(options.planes, layout), shape)


def _description(source: StackInput, settings: Settings) -> Description:
    """Return axes and placement of the image for the file."""
    from napari_blindsr.images.metadata import (  # noqa: PLC0415
        AxisStep,
        Description,
        PixelSize,
    )
    from napari_blindsr.physics.observation import phase  # noqa: PLC0415

    axes = source.layout.axes
    frame = finer_frame(
        source, scale=settings.scale, offset=phase(settings.scale, settings.geometry)
    )
    sizes = np.abs(frame.scale)
    units = [None if str(unit) == "pixel" else f"{unit:~}" for unit in frame.units]
    row, column = source.plane.axes
    unit = units[row]
    pixel_size, origin = None, (0.0, 0.0)
    if unit is not None and unit == units[column]:
        pixel_size = PixelSize(y=float(sizes[row]), x=float(sizes[column]), unit=unit)
        origin = float(frame.translate[row]), float(frame.translate[column])
    steps = [
        AxisStep(axis=axes[n], size=float(sizes[n]), unit=name)
        for n in source.layout.loops
        if (name := units[n]) is not None
    ]
    return Description(axes=axes, pixel_size=pixel_size, origin=origin, steps=tuple(steps))


def _free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder that does not exist."""
    plain = "".join(letter if letter.isalnum() or letter in " -_.×" else "_" for letter in name)
    path, number = folder / f"{plain}.ome.zarr", 1
    while path.exists():
        number += 1
        path = folder / f"{plain} {number}.ome.zarr"
    return path
