"""From a result to layers: in the right place, in the source's looks, and traceable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_blindsr.images.axes import PLANE_AXES, SAMPLES
from napari_blindsr.stacks.result import StackKernel, StackResult

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.plugin.layers.inputs import Frame, LayerInput, Plane
    from napari_blindsr.plugin.layers.zarr_output import ZarrOutput
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.types import OutputType


METADATA_KEY = "napari-blindsr"
SUPPORTED = 0.5
"""Least share of a pixel's support that must be valid."""
GAP = 2
"""Least number of free pixels between neighbouring kernels of a field."""
MASK_COLOURS = {"filled in": "magenta", "lacking data": "cyan"}

LayerData: TypeAlias = "tuple[NDArray[Any], dict[str, Any], str]"


def result_layers(
    result: Result | StackResult,
    source: LayerInput,
    *,
    lacking: bool = False,
    dtype: OutputType = "float32",
    stored: ZarrOutput | None = None,
) -> list[LayerData]:
    """Return kernel, uncertainty, image and masks as layer data, the lowest layer first.

    `lacking` adds a mask of poorly supported pixels, `dtype` is that of a grey plane, and `stored`
    holds the pixels of a stack that was written to disk. Kernels that vary lie on top, over their
    regions.
    """
    kernels, image = kernel_layer(result, source), image_layer(result, source, dtype, stored)
    varies = any(entry.field is not None for entry in _kernels_of(result))
    layers = [] if varies else [kernels]
    if not isinstance(result, StackResult) and result.uncertainty is not None:
        layers.append(_uncertainty_layer(result, source))
    layers.append(image)
    if not isinstance(result, StackResult) and lacking:
        layers.append(_mask_layer(result.support < SUPPORTED, "lacking data", result, source))
    if result.covered is not None:
        layers.append(_mask_layer(result.covered, "filled in", result, source))
    return [*layers, kernels] if varies else layers


def finer_frame(source: LayerInput, *, scale: int, offset: float) -> Frame:
    """Return the placement of the restored image; `offset` is δ in fine pixels.

    Fine pixel j lies at coarse coordinate (j − δ)/s from the first pixel of the region. Along other
    axes the image begins with the first plane.
    """
    corner = (0, 0) if source.region is None else (source.region.top, source.region.left)
    origin = [at - offset / scale for at in corner]
    return source.plane.grid(source.frame, origin=origin, step=1 / scale)


def image_layer(
    result: Result | StackResult,
    source: LayerInput,
    dtype: OutputType = "float32",
    stored: ZarrOutput | None = None,
) -> LayerData:
    """Return the restored image as layer data, shown in the range of its source.

    Grey planes stay in the source's unit, unclipped in float32. RGB comes back in the source's
    type, because napari shows RGB within the range of the type only.
    """
    layer = _layer(
        result,
        source,
        _pixels(result, source, dtype) if stored is None else stored.array,
        kind="image",
        name=f"{source.name} ×{result.settings.scale} ({method_of(result)})",
        rgb=source.is_rgb,
        **source.appearance.attributes(rgb=source.is_rgb),
    )
    if stored is not None:
        layer[1]["metadata"][METADATA_KEY]["file"] = str(stored.path)
    if source.is_rgb and layer[0].dtype.kind == "f":
        # Of a lazy array as well, when it is read.
        return layer[0].clip(0, 1), *layer[1:]
    return layer


def method_of(result: Result | StackResult) -> str:
    """Return the method of a result, without a network that was not used."""
    method = result.settings.method
    example = result.example if isinstance(result, StackResult) else result
    used = example is None or example.finish == "usrnet"
    return method if used else method.removesuffix("-usrnet")


def _pixels(result: Result | StackResult, source: LayerInput, dtype: OutputType) -> NDArray[Any]:
    # Not before now: this imports what reads and writes files.
    from napari_blindsr.stacks.outputs import converted, result_type  # noqa: PLC0415

    if isinstance(result, StackResult):
        return result.image
    if source.is_rgb:
        return source.plane.expanded(as_rgb(result.image, source.kind))
    data, _ = converted(result.image, result_type(dtype, source.kind))
    return source.plane.expanded(data)


def kernel_layer(result: Result | StackResult, source: LayerInput) -> LayerData:
    """Return the point spread functions as layer data: beside the image, or over their regions.

    Beside the image a kernel has the pixel size of the restored image, and zeros on one side put
    its centre into the middle.
    """
    entries = _kernels_of(result)
    psfs = _padded([_shown(entry) for entry in entries])
    shape = (psfs[0].shape[0], psfs[0].shape[1])
    field = next((entry.field for entry in entries if entry.field is not None), None)
    name, blending = "PSF", source.appearance.blending
    frame = beside(_frame(result, source), source.frame, source.plane, shape)
    if field is not None:
        # Black is nothing: the image stays visible around and below the kernels.
        name, blending = "PSFs {} × {}".format(*field.shape), "additive"
        # The edges of the montage are those of the whole image.
        steps = np.divide(field.extent.shape, shape)
        frame = source.plane.grid(source.frame, origin=steps / 2 - 0.5, step=steps)
    data, attributes, kind = _layer(
        result,
        source,
        _in_layer(_by_plane(psfs, result), result, source),
        kind="kernel",
        name=f"{source.name} {name} ×{result.settings.scale} ({method_of(result)})",
        frame=frame,
        colormap="inferno",
        contrast_limits=(0.0, max(float(psf.max()) for psf in psfs)),
        blending=blending,
    )
    record = attributes["metadata"][METADATA_KEY]
    if len(entries) == 1:
        record |= kernel_record(entries[0].kernels)
    else:
        record["shown"] = "point spread functions: the correlation kernels flipped in both axes"
        record["correlation_kernels"] = [entry.kernels.astype(float).tolist() for entry in entries]
    if field is not None:
        # It distinguishes a grid from one kernel when the layer is used again.
        record["field"] = field.report()
    return data, attributes, kind


def kernel_record(kernel: NDArray[Any]) -> dict[str, Any]:
    """Return the metadata from which a layer is read as a known kernel."""
    return {
        "shown": "point spread function: the correlation kernel flipped in both axes",
        "correlation_kernel": kernel.astype(float).tolist(),
    }


def _kernels_of(result: Result | StackResult) -> list[Result | StackKernel]:
    return list(result.kernels) if isinstance(result, StackResult) else [result]


def _shown(entry: Result | StackKernel) -> NDArray[np.float32]:
    center = (entry.center,) * 2 if isinstance(entry, StackKernel) else entry.kernel_center
    return (
        shown_psf(entry.kernel, center) if entry.field is None else montage(entry.field, center[0])
    )


def shown_psf(
    kernel: NDArray[np.float32], kernel_center: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a correlation kernel as a point spread function with its centre in the middle."""
    pads = []
    for center, side in zip(kernel_center, kernel.shape, strict=True):
        # Flipping the kernel flips its centre, which comes to the middle to half a pixel.
        excess = round(side - 1 - 2 * center)
        pads.append((max(-excess, 0), max(excess, 0)))
    return np.pad(kernel[::-1, ::-1], pads)


def montage(field: KernelField, center: float) -> NDArray[np.float32]:
    """Return the point spread functions of a field (R·P, C·Q) side by side.

    Each region has P × Q pixels in about its proportions in the image, with its kernel in the
    middle. `center` is the row and column of a kernel at the position of a coarse pixel.
    """
    psfs = [shown_psf(field.kernels[place], (center, center)) for place in field.places]
    side = max(psfs[0].shape)
    regions = [
        length / count for length, count in zip(field.extent.shape, field.shape, strict=True)
    ]
    cell = [round((side + GAP) * region / min(regions)) for region in regions]
    rows, columns = field.shape
    canvas = np.zeros((rows * cell[0], columns * cell[1]), dtype=np.float32)
    for (row, column), psf in zip(field.places, psfs, strict=True):
        top, left = (
            at * length + (length - n) // 2
            for at, length, n in zip((row, column), cell, psf.shape, strict=True)
        )
        canvas[top : top + psf.shape[0], left : left + psf.shape[1]] = psf
    return canvas


def _by_plane(psfs: list[NDArray[np.float32]], result: Result | StackResult) -> NDArray[np.float32]:
    """Return the point spread function of each plane; one for all takes the memory of one."""
    if not isinstance(result, StackResult):
        return psfs[0]
    loops = tuple(map(len, result.selection))
    if len(psfs) == 1:
        return np.broadcast_to(psfs[0], (*loops, *psfs[0].shape))
    stacked = np.zeros((*loops, *psfs[0].shape), dtype=np.float32)
    for psf, entry in zip(psfs, result.kernels, strict=True):
        for index in entry.indices:
            place = zip(result.selection, index, strict=True)
            stacked[tuple(chosen.index(at) for chosen, at in place)] = psf
    return stacked


def _in_layer(
    pixels: NDArray[Any], result: Result | StackResult, source: LayerInput
) -> NDArray[Any]:
    """Return grey pixels of a plane, or of planes that come last, with the axes of the layer."""
    if not isinstance(result, StackResult):
        return source.plane.expanded(pixels)
    axes = result.loop_axes + PLANE_AXES
    return pixels.transpose([axes.index(axis) for axis in result.axes if axis != SAMPLES])


def _padded(psfs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return point spread functions in arrays of one size, their middles in the middle."""
    sides = [max(psf.shape[axis] for psf in psfs) for axis in (0, 1)]
    padded = []
    for psf in psfs:
        missing = [side - n for side, n in zip(sides, psf.shape, strict=True)]
        padded.append(np.pad(psf, [(n // 2, n - n // 2) for n in missing]))
    return padded


def _uncertainty_layer(result: Result, source: LayerInput) -> LayerData:
    """Return the standard deviation of each pixel; of RGB, the root mean square over colours."""
    data = np.asarray(result.uncertainty)
    if result.axes != PLANE_AXES:
        data = np.sqrt(np.square(data).mean(axis=result.axes.index("C")))
    return _layer(
        result,
        source,
        source.plane.expanded(data),
        kind="uncertainty",
        name=f"{source.name} ×{result.settings.scale} uncertainty",
        colormap="magma",
        # Some pixels of very bright spots shall not darken the rest.
        contrast_limits=(0.0, max(float(np.quantile(data, 0.995)), np.finfo(np.float32).tiny)),
    )


def _mask_layer(
    mask: NDArray[np.bool_], meaning: str, result: Result | StackResult, source: LayerInput
) -> LayerData:
    data, attributes, _ = _layer(
        result,
        source,
        _in_layer(mask.astype(np.uint8), result, source),
        kind=meaning,
        name=f"{source.name} ×{result.settings.scale} {meaning}",
        opacity=0.5,
        colormap={None: "transparent", 1: MASK_COLOURS[meaning]},
        # Shown in the status bar.
        features={"index": [1], "meaning": [meaning]},
    )
    return data, attributes, "labels"


def _layer(
    result: Result | StackResult,
    source: LayerInput,
    data: NDArray[Any],
    *,
    kind: str,
    name: str,
    frame: Frame | None = None,
    **looks: Any,
) -> LayerData:
    """Return layer data with a place, that of the image if left out, and its provenance."""
    placed = _frame(result, source) if frame is None else frame
    record = {"kind": kind, "source": source.provenance(), **result.report()}
    metadata = {METADATA_KEY: record}
    return data, {"name": name, **looks, "metadata": metadata, **placed.attributes()}, "image"


def _frame(result: Result | StackResult, source: LayerInput) -> Frame:
    return finer_frame(source, scale=result.settings.scale, offset=result.offset)


def record_of(layer: Layer) -> dict[str, Any]:
    """Return what this plugin's metadata of a layer say; nothing of other layers."""
    record = layer.metadata.get(METADATA_KEY)
    return record if isinstance(record, dict) else {}


def is_result(layer: Layer) -> bool:
    """Tell whether a layer was made by `result_layers`."""
    return "source" in record_of(layer)


def is_restored(layer: Layer | None) -> bool:
    """Tell whether a layer is a restored image."""
    return layer is not None and is_result(layer) and record_of(layer).get("kind") == "image"


def beside(frame: Frame, image: Frame, plane: Plane, shape: tuple[int, int]) -> Frame:
    """Return a frame moved right of a plane of an image, level at the top, for an array (h, w)."""
    row, column = plane.axes
    image_low, image_high = image.edges(plane.thin(plane.shape))
    low, _ = frame.edges(plane.thin(shape))
    shift = np.zeros(len(image_low))
    shift[row] = image_low[row] - low[row]
    gap = 0.05 * (image_high[column] - image_low[column])
    shift[column] = image_high[column] + gap - low[column]
    return frame.moved(shift)


def as_rgb(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return colours in the type of their source, within what napari shows of it."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
    return np.clip(image, 0, 1)
