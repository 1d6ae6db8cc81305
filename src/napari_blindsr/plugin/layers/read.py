"""A layer, or the known kernel in it, as plain arrays, read once, on the main thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.images.planes import Planes, find_covered, to_planes
from napari_blindsr.methods import method_named
from napari_blindsr.physics.kernel_files import check_kernels
from napari_blindsr.plugin.layers.inputs import Appearance, Frame, KernelInput, LayerInput, Plane
from napari_blindsr.plugin.layers.outputs import record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import Dims
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

    from napari_blindsr.settings import Settings


NAME_LENGTH = 24
"""Longest name of a layer in a message."""


def find_plane(layer: Image, dims: Dims | None = None) -> Plane:
    """Find the plane on display of a layer, without reading its pixels; `dims` are the viewer's.

    Raises an `InputError` if no single plane of the layer is on display.
    """
    shape = spatial_shape(layer)
    if layer.ndim == 2:
        return Plane(axes=(0, 1), index=(None, None), shape=(shape[0], shape[1]))
    if dims is None:
        raise InputError(
            f"{quoted(layer)} has {layer.ndim} dimensions; expected a 2-D image, grey or RGB"
        )
    if dims.ndisplay != 2:
        raise InputError(
            f"{quoted(layer)} is shown in 3-D; switch the viewer to 2-D, "
            "and the plane on display is restored"
        )
    # A layer's axes are the last ones of the viewer.
    axes = sorted(axis - (dims.ndim - layer.ndim) for axis in dims.displayed)
    if axes[0] < 0:
        raise InputError(
            f"{quoted(layer)} has no axis {dims.axis_labels[min(dims.displayed)]}, "
            "which the viewer shows; expected a plane of the layer on display"
        )
    others = [axis for axis in range(layer.ndim) if axis not in axes]
    _check_unmixed(layer, axes, others)
    position = np.rint(layer.world_to_data(dims.point)).astype(int)
    if any(not 0 <= position[axis] < shape[axis] for axis in others):
        raise InputError(
            f"the slice on display lies outside of {quoted(layer)}; move the sliders into it"
        )
    return Plane(
        axes=(axes[0], axes[1]),
        index=tuple(None if axis in axes else int(position[axis]) for axis in range(layer.ndim)),
        shape=(shape[axes[0]], shape[axes[1]]),
    )


def read_layer(layer: Image, dims: Dims | None = None) -> LayerInput:
    """Read pixels, placement and looks of a layer. Call it on the main thread.

    Of a multiscale layer the finest level is read, of a stack the plane on display. Raises an
    `InputError` as `find_plane` does, or if the pixels cannot be read.
    """
    plane = find_plane(layer, dims)
    data = read_pixels(layer, plane.index)
    if layer.rgb and data.shape[-1] == 4:
        data = np.ascontiguousarray(data[..., :3])
    return layer_input(layer, data=data, axes="YXC" if layer.rgb else "YX", plane=plane)


def layer_input(layer: Image, **part: Any) -> LayerInput:
    """Return a part of a layer with the name, the placement and the looks of the layer."""
    with_alpha = layer.rgb and array_of(layer).shape[-1] == 4
    return LayerInput(
        name=str(layer.name),
        frame=Frame.of_layer(layer),
        appearance=Appearance.of_layer(layer),
        notes=("alpha channel left out",) if with_alpha else (),
        **part,
    )


def run_planes(source: LayerInput, settings: Settings) -> Planes:
    """Return a plane, or its region, as a run scales it.

    Raises an `InputError` if the run would not take it.
    """
    whole = source.region is None
    data = source.data if source.region is None else source.data[source.region.slices]
    missing = None
    if method_named(settings.method).degradations:
        missing = find_covered(
            data,
            axes=source.axes,
            mask=source.mask.covered if source.mask is not None and whole else None,
            saturated=settings.mask_saturated,
        )
    return to_planes(
        data,
        axes=source.axes,
        geometry=settings.geometry,
        covered=missing,
        gain=settings.gain,
    )


def quoted(layer: Layer) -> str:
    """Return the name of a layer for a message, shortened if it is long."""
    name = str(layer.name)
    if len(name) > NAME_LENGTH:
        name = f"{name[: NAME_LENGTH // 2]}…{name[-NAME_LENGTH // 2 :]}"
    return f"layer '{name}'"


def array_of(layer: Image | Labels, level: int = 0) -> Any:
    """Return the array of a layer; level 0 of a multiscale one is the finest."""
    return layer.data[level] if layer.multiscale else layer.data


def spatial_shape(layer: Image, level: int = 0) -> tuple[int, ...]:
    """Return the shape of a layer without colours."""
    shape = tuple(int(size) for size in array_of(layer, level).shape)
    return shape[:-1] if layer.rgb else shape


def read_pixels(
    layer: Image | Labels, index: Sequence[int | None], *, level: int = 0
) -> NDArray[Any]:
    """Read a cut through a layer: an index for each axis, None for the whole axis.

    Level 0 of a multiscale layer is the finest. Raises an `InputError` if that fails.
    """
    cut = tuple(slice(None) if at is None else at for at in index)
    with reading(quoted(layer)):
        # Slice first: np.array of a lazy stack would load all of it.
        return np.array(array_of(layer, level)[cut])


@contextmanager
def reading(called: str) -> Iterator[None]:
    """Raise an `InputError` for every error within, with the name of the layer."""
    try:
        yield
    except Exception as error:
        # Lazy arrays fail in ways of their own: files, networks, codecs.
        text = " ".join(str(error).split())
        raise InputError(f"{called} cannot be read: {type(error).__name__}: {text}") from error


def nanometres(frame: Frame, plane: Plane) -> float | None:
    """Return the size of a layer's pixel in nm, or None if it is not square or has no length."""
    sizes = []
    for axis in plane.axes:
        unit = frame.units[axis]
        # napari's pixels are a unit as well, of a dimension of their own.
        if not unit.is_compatible_with("nm"):
            return None
        step = float(np.linalg.norm(frame.world_linear[:, axis]))
        sizes.append(step * float((1 * unit).to("nm").magnitude))
    return None if max(sizes) > 1.01 * min(sizes) else sum(sizes) / 2


def _check_unmixed(layer: Image, axes: list[int], others: list[int]) -> None:
    # A plane cut through a layer that is turned out of it is resampled for display.
    linear = Frame.of_layer(layer).world_linear
    mixed = max(
        np.abs(linear[np.ix_(axes, others)]).max(), np.abs(linear[np.ix_(others, axes)]).max()
    )
    if mixed > 1e-9 * np.abs(linear).max():
        raise InputError(
            f"{quoted(layer)} is turned out of the plane on display; "
            "expected a plane along its own axes"
        )


def read_kernel_layer(
    layer: Image, dims: Dims, *, scale: int, pixel_size: float | None
) -> KernelInput:
    """Read a known kernel from a layer, for pixels of the result in nm. Call it on the main thread.

    Of this plugin's layers the correlation kernels in the metadata are taken; the pixels of others
    are a point spread function, and are flipped. Raises an `InputError` if the layer holds no
    kernel, or one for pixels of another size.
    """
    record, estimated = record_of(layer), False
    if holds_own_kernel(layer):
        if record["scale"] != scale:
            raise InputError(
                f"{quoted(layer)} holds a kernel for scale {record['scale']}; the scale is {scale}"
            )
        values = np.asarray(record["correlation_kernel"])
        # Those of samples are known.
        estimated = record.get("settings", {}).get("kernel", "known") != "known"
    else:
        source = read_layer(layer, dims)
        values = source.data[::-1, ::-1]
        size = nanometres(source.frame, source.plane)
        if size and pixel_size and not 0.95 < size / pixel_size < 1.05:
            raise InputError(
                f"{quoted(layer)}, the kernel, has pixels of {size:.4g} nm; "
                f"expected {pixel_size:.4g} nm, those of the result"
            )
    try:
        kernel = check_kernels(values)
    except InputError as error:
        raise InputError(f"{quoted(layer)}: {error}") from error
    return KernelInput(name=str(layer.name), kernel=kernel, estimated=estimated)


def holds_own_kernel(layer: Layer) -> bool:
    """Tell whether a layer shows a kernel of this plugin, and keeps it in its metadata."""
    return "correlation_kernel" in record_of(layer)


def holds_field(layer: Layer) -> bool:
    """Tell whether a layer keeps the kernels of an image's regions."""
    return holds_own_kernel(layer) and bool(record_of(layer).get("field"))
