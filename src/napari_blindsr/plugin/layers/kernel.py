"""Known kernels from layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.physics.kernel_files import check_kernels
from napari_blindsr.plugin.layers.inputs import KernelInput
from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.layers.read import nanometres, quoted, read_layer

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Layer
    from numpy.typing import NDArray


def read_kernel_layer(
    layer: Image, dims: Dims, *, scale: int, pixel_size: float | None
) -> KernelInput:
    """Read a known kernel from a layer, for pixels of the result in nm. Call it on the main thread.

    Of this plugin's layers the correlation kernels in the metadata are taken; the pixels of others
    are a point spread function, and are flipped. Raises an `InputError` if the layer holds no
    kernel, or one for pixels of another size.
    """
    values = _own_kernel(layer, scale)
    if values is None:
        source = read_layer(layer, dims)
        values = source.data[::-1, ::-1]
        size = nanometres(layer, source.plane)
        if size and pixel_size and not 0.95 < size / pixel_size < 1.05:
            raise InputError(
                f"{quoted(layer)}, the kernel, has pixels of {size:.4g} nm; "
                f"expected {pixel_size:.4g} nm, those of the result"
            )
    try:
        kernel = check_kernels(values)
    except InputError as error:
        raise InputError(f"{quoted(layer)}: {error}") from error
    return KernelInput(name=str(layer.name), kernel=kernel, estimated=_was_estimated(layer))


def holds_own_kernel(layer: Layer) -> bool:
    """Tell whether a layer shows a kernel of this plugin, and keeps it in its metadata."""
    return "correlation_kernel" in record_of(layer)


def holds_field(layer: Layer) -> bool:
    """Tell whether a layer keeps the kernels of an image's regions."""
    return holds_own_kernel(layer) and bool(record_of(layer).get("field"))


def _was_estimated(layer: Layer) -> bool:
    """Tell whether a run estimated the kernel of a layer: those of samples are known."""
    if not holds_own_kernel(layer):
        return False
    settings = record_of(layer).get("settings", {})
    return bool(settings.get("kernel", "known") != "known")


def _own_kernel(layer: Image, scale: int) -> NDArray[Any] | None:
    """Return the correlation kernel in the metadata of a layer, if there is one."""
    if not holds_own_kernel(layer):
        return None
    record = record_of(layer)
    if record["scale"] != scale:
        raise InputError(
            f"{quoted(layer)} holds a kernel for scale {record['scale']}; the scale is {scale}"
        )
    return np.asarray(record["correlation_kernel"])
