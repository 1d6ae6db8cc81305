"""From a result to layers: in the right place, in the source's looks, and traceable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_blindsr.plugin.layers.psf import montage, montage_frame, shown_psf

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.plugin.layers.frame import Frame
    from napari_blindsr.plugin.layers.inputs import LayerInput, Source
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.types import OutputType


METADATA_KEY = "napari-blindsr"
ENOUGH = 0.5
"""Share of what would see a pixel that must have been measured."""
MASK_COLOURS = {"filled in": "magenta", "lacking data": "cyan"}

LayerData: TypeAlias = "tuple[NDArray[Any], dict[str, Any], str]"


def result_layers(
    result: Result, source: LayerInput, *, lacking: bool = False, dtype: OutputType = "float32"
) -> list[LayerData]:
    """Return the restored image, the point spread function, and masks as layer data.

    Parameters
    ----------
    result : Result
    source : LayerInput
        What the run was given.
    lacking : bool
        Whether to add a mask of where data are lacking.
    dtype : {"float32", "source"}
        Of a grey image.

    Returns
    -------
    list of (data, attributes, "image" or "labels")
        In the order in which they lie on each other: the kernel, the uncertainty if it was
        asked for, the image, and on it what was filled in, if anything was. Kernels of a field
        lie on top, over the regions that they belong to.
    """
    layers = [kernel_layer(result, source)] if result.field is None else []
    if result.uncertainty is not None:
        layers.append(uncertainty_layer(result, source))
    layers.append(image_layer(result, source, dtype=dtype))
    if lacking:
        layers.append(lacking_layer(result, source))
    if result.covered is not None:
        layers.append(covered_layer(result, source))
    if result.field is not None:
        layers.append(field_layer(result, source))
    return layers


def image_frame(result: Result, source: LayerInput) -> Frame:
    """Return the placement of the restored image."""
    return finer_frame(source, scale=result.settings.scale, offset=result.offset)


def finer_frame(source: Source, *, scale: int, offset: float) -> Frame:
    """Return the placement of what is restored of a source.

    HR pixel j lies at LR coordinate (j − δ)/s, so pixel 0 lies at −δ/s; of a region, these count
    from where it begins. Along axes with planes it begins with the first plane.
    """
    start = dict.fromkeys(source.plane.axes, 0)
    if source.region is not None:
        corner = source.region.top, source.region.left
        start = dict(zip(source.plane.axes, corner, strict=True))
    origin = [
        start[axis] - offset / scale if at is None else float(at)
        for axis, at in enumerate(source.plane.index)
    ]
    step = [1 / scale if at is None else 1.0 for at in source.plane.index]
    return source.frame.resampled(origin, step)


def image_layer(result: Result, source: LayerInput, *, dtype: OutputType = "float32") -> LayerData:
    """Return the restored image as layer data.

    Grey images stay in the source's unit, in float32, unclipped, or else in the source's type. RGB
    images come back in the source's type, because napari shows RGB within the range of the type
    only.
    """
    # Not before now: this imports what reads and writes files.
    from napari_blindsr.stacks.outputs import converted, result_type  # noqa: PLC0415

    if source.is_rgb:
        data: NDArray[Any] = as_rgb(result.image, source.kind)
    else:
        data, _ = converted(result.image, result_type(dtype, source.kind))
    attributes = image_attributes(
        source,
        settings=result.settings,
        frame=image_frame(result, source),
        record=provenance(result, source, kind="image"),
    )
    return in_plane(data, source), attributes, "image"


def image_attributes(
    source: Source,
    *,
    settings: Settings,
    frame: Frame,
    record: dict[str, Any],
) -> dict[str, Any]:
    """Return what a restored image is called, where it lies, and how it is shown.

    It is shown in the range of its source, so that both can be compared.

    Parameters
    ----------
    source : LayerInput or StackInput
    settings : Settings
    frame : Frame
    record : dict
        Its provenance.
    """
    looks = source.appearance
    attributes = {
        "name": f"{source.name} ×{settings.scale} ({settings.method})",
        "gamma": looks.gamma,
        "blending": looks.blending,
        "opacity": looks.opacity,
        "interpolation2d": looks.interpolation2d,
        "rgb": source.is_rgb,
        "metadata": {METADATA_KEY: record},
        **frame.attributes(),
    }
    if not source.is_rgb:
        attributes["colormap"] = looks.colormap
        attributes["contrast_limits"] = looks.contrast_limits
    return attributes


def uncertainty_layer(result: Result, source: LayerInput) -> LayerData:
    """Return the standard deviation of each pixel, in the place of the image.

    Of an RGB image it is the root mean square over the channels.
    """
    assert result.uncertainty is not None
    data = result.uncertainty
    if source.axes != "YX":
        data = np.sqrt(np.square(data).mean(axis=source.axes.index("C")))
    attributes = {
        "name": f"{source.name} ×{result.settings.scale} uncertainty",
        "colormap": "magma",
        # Some pixels of very bright spots shall not darken the rest.
        "contrast_limits": (0.0, max(float(np.quantile(data, 0.995)), np.finfo(np.float32).tiny)),
        "metadata": {METADATA_KEY: provenance(result, source, kind="uncertainty")},
        **image_frame(result, source).attributes(),
    }
    return in_plane(data, source), attributes, "image"


def covered_layer(result: Result, source: LayerInput) -> LayerData:
    """Return where the image was filled in, over the image."""
    assert result.covered is not None
    return _mask_layer(result.covered, "filled in", result, source)


def lacking_layer(result: Result, source: LayerInput) -> LayerData:
    """Return where less than half of what would see a pixel was measured, over the image."""
    return _mask_layer(result.support < ENOUGH, "lacking data", result, source)


def kernel_layer(result: Result, source: LayerInput) -> LayerData:
    """Return the point spread function as layer data, beside the image.

    It has the pixel size of the restored image, and its centre is that of the array:
    where the kernel's own centre is not, zeros are added on one side.
    """
    psf = shown_psf(result.kernel, result.kernel_center)
    attributes = kernel_attributes(
        source,
        psf.shape,
        settings=result.settings,
        top=float(psf.max()),
        frame=image_frame(result, source),
        record=provenance(result, source, kind="kernel"),
    )
    return in_plane(psf, source), attributes, "image"


def field_layer(result: Result, source: LayerInput) -> LayerData:
    """Return the point spread functions of a field as layer data, over the image."""
    assert result.field is not None
    data = montage(result.field, result.kernel_center[0])
    attributes = montage_attributes(
        source,
        result.field,
        (data.shape[0], data.shape[1]),
        settings=result.settings,
        top=float(data.max()),
        record=provenance(result, source, kind="kernel"),
    )
    return in_plane(data, source), attributes, "image"


def kernel_attributes(
    source: Source,
    shape: tuple[int, ...],
    *,
    settings: Settings,
    top: float,
    frame: Frame,
    record: dict[str, Any],
) -> dict[str, Any]:
    """Return what a point spread function is called, where it lies, and how it is shown.

    Parameters
    ----------
    source : LayerInput or StackInput
    shape : tuple of int
        (h, w) of it.
    settings : Settings
    top : float
        Its largest value.
    frame : Frame
        That of the restored image.
    record : dict
        Its provenance.
    """
    return {
        "name": f"{source.name} PSF ×{settings.scale} ({settings.method})",
        "colormap": "inferno",
        "contrast_limits": (0.0, top),
        "blending": source.appearance.blending,
        "metadata": {METADATA_KEY: record},
        **beside(frame, source, shape).attributes(),
    }


def montage_attributes(
    source: Source,
    field: KernelField,
    shape: tuple[int, int],
    *,
    settings: Settings,
    top: float,
    record: dict[str, Any],
) -> dict[str, Any]:
    """Return what the montage of a field is called, where it lies, and how it is shown.

    Parameters
    ----------
    source : LayerInput or StackInput
    field : KernelField
    shape : tuple of int
        (h, w) of the montage.
    settings : Settings
    top : float
        Its largest value.
    record : dict
        Its provenance.
    """
    rows, columns = field.shape
    return {
        "name": f"{source.name} PSFs {rows} × {columns} ×{settings.scale} ({settings.method})",
        "colormap": "inferno",
        "contrast_limits": (0.0, top),
        # Black is nothing: the image stays visible around and below the kernels.
        "blending": "additive",
        "metadata": {METADATA_KEY: record},
        **montage_frame(field, shape, source).attributes(),
    }


def provenance(result: Result, source: LayerInput, *, kind: str) -> dict[str, Any]:
    """Return what is needed to repeat a run, as plain JSON types.

    Parameters
    ----------
    result : Result
    source : LayerInput
    kind : {"image", "kernel", "uncertainty", "filled in", "lacking data"}
        What the layer that carries it shows. A kernel layer shows the point spread
        function, and its record keeps the correlation kernel.
    """
    record = {"kind": kind, "source": source.provenance(), **result.report()}
    if kind == "kernel":
        record["shown"] = "point spread function: the correlation kernel flipped in both axes"
        record["correlation_kernel"] = result.kernels.astype(float).tolist()
    return record


def is_result(layer: Layer) -> bool:
    """Tell whether a layer was made by `result_layers`."""
    record = layer.metadata.get(METADATA_KEY)
    return isinstance(record, dict) and "source" in record


def _mask_layer(
    mask: NDArray[np.bool_], meaning: str, result: Result, source: LayerInput
) -> LayerData:
    attributes = mask_attributes(
        source,
        meaning,
        settings=result.settings,
        frame=image_frame(result, source),
        record=provenance(result, source, kind=meaning),
    )
    return in_plane(mask.astype(np.uint8), source), attributes, "labels"


def mask_attributes(
    source: Source, meaning: str, *, settings: Settings, frame: Frame, record: dict[str, Any]
) -> dict[str, Any]:
    """Return what a mask is called, where it lies, and how it is shown."""
    return {
        "name": f"{source.name} ×{settings.scale} {meaning}",
        "opacity": 0.5,
        "colormap": {None: "transparent", 1: MASK_COLOURS[meaning]},
        # Shown in the status bar.
        "features": {"index": [1], "meaning": [meaning]},
        "metadata": {METADATA_KEY: record},
        **frame.attributes(),
    }


def beside(frame: Frame, source: Source, shape: tuple[int, ...]) -> Frame:
    """Return a frame right of the source's plane, level with its top, for an array of a shape.

    Beside a region that was restored there is more of the source.
    """
    row, column = source.plane.axes
    image_low, image_high = source.frame.edges(_spatial(source.plane.shape, source))
    low, _ = frame.edges(_spatial(shape, source))
    shift = np.zeros(len(image_low))
    shift[row] = image_low[row] - low[row]
    gap = 0.05 * (image_high[column] - image_low[column])
    shift[column] = image_high[column] + gap - low[column]
    return frame.moved(shift)


def _spatial(shape: tuple[int, ...], source: Source) -> tuple[int, ...]:
    """Return the shape of a plane among the axes of its layer, one pixel thick elsewhere."""
    sides = dict(zip(source.plane.axes, shape, strict=True))
    return tuple(sides.get(axis, 1) for axis in range(len(source.plane.index)))


def in_plane(plane: NDArray[Any], source: Source) -> NDArray[Any]:
    """Return a plane with the axes of its layer, one pixel thick along those that were cut.

    So it shows at its slice only.
    """
    return np.expand_dims(plane, source.plane.others)


def as_rgb(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return colours in the type of their source, within what napari shows of it."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
    return np.clip(image, 0, 1)
