"""Results that are written to disk plane by plane, and open lazily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_blindsr.images.axes import Layout, parse_selection
from napari_blindsr.plugin.layers.outputs import finer_frame

if TYPE_CHECKING:
    from napari_blindsr.plugin.layers.inputs import LayerInput
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.outputs import StackTarget


class ZarrOutput:
    """A new OME-Zarr folder within a folder, for the result of a stack.

    Attributes
    ----------
    path : Path
    array : array
        The result, which is read lazily, in the axes of the source; None before it is written.
    """

    def __init__(self, folder: Path, source: LayerInput, settings: Settings) -> None:
        self.path = _free_path(folder, f"{source.name} x{settings.scale} {settings.method}")
        self.array: Any = None
        self._source, self._settings = source, settings

    @contextmanager
    def writing(self) -> Iterator[StackTarget]:
        """Yield a target for the result; an error within removes the file.

        Raises a `FileError` if it cannot be written there, or OME-Zarr cannot hold the axes.
        """
        # Not before now: these import zarr, which takes a while.
        from napari_blindsr.images.files import create_image, open_image  # noqa: PLC0415
        from napari_blindsr.physics.observation import phase  # noqa: PLC0415
        from napari_blindsr.plugin.layers.open_files import lazy  # noqa: PLC0415
        from napari_blindsr.plugin.layers.save_files import layer_description  # noqa: PLC0415
        from napari_blindsr.stacks.outputs import ArrayTarget, result_type  # noqa: PLC0415

        source, scale = self._source, self._settings.scale
        assert source.options is not None
        layout = Layout(axes=source.axes, shape=source.data.shape)
        selection = parse_selection(source.options.planes, layout)
        height, width = source.restored_shape
        frame = finer_frame(source, scale=scale, offset=phase(scale, self._settings.geometry))
        shape = layout.resized(selection, (scale * height, scale * width)).shape
        looks = source.appearance.attributes(rgb=source.is_rgb)
        looks |= {"name": source.name, **frame.attributes()}
        writer = create_image(
            self.path,
            shape=shape,
            dtype=result_type(source.options.dtype, source.kind),
            description=layer_description(source.axes, shape, [looks]),
        )
        try:
            yield ArrayTarget(writer)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        image = open_image(self.path)
        order = [image.description.axes.index(axis) for axis in source.axes]
        self.array = lazy(image, tile=512).transpose(order)


def _free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder that does not exist."""
    plain = "".join(letter if letter.isalnum() or letter in " -_.×" else "_" for letter in name)
    path, number = folder / f"{plain}.ome.zarr", 1
    while path.exists():
        number += 1
        path = folder / f"{plain} {number}.ome.zarr"
    return path
