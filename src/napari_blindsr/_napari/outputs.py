"""From a result to layers: in the right place, in the source's looks, and traceable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_blindsr._napari.geometry import Frame
    from napari_blindsr._napari.inputs import LayerInput
    from napari_blindsr.result import Result

METADATA_KEY = "napari-blindsr"
ENOUGH = 0.5
"""Share of what would see a pixel that must have been measured."""
MASK_COLOURS = {"filled in": "magenta", "lacking data": "cyan"}

LayerData: TypeAlias = "tuple[NDArray[Any], dict[str, Any], str]"


def result_layers(result: Result, source: LayerInput, *, lacking: bool = False) -> list[LayerData]:
    """Return the restored image, the point spread function, and masks as layer data.

    Parameters
    ----------
    result : Result
    source : LayerInput
        What the run was given.
    lacking : bool
        Whether to add a mask of where data are lacking.

    Returns
    -------
    list of (data, attributes, "image" or "labels")
        In the order in which they lie on each other: the kernel, the uncertainty if it was
        asked for, the image, and on it what was filled in, if anything was.
    """
    layers = [kernel_layer(result, source)]
    if result.uncertainty is not None:
        layers.append(uncertainty_layer(result, source))
    layers.append(image_layer(result, source))
    if lacking:
        layers.append(lacking_layer(result, source))
    if result.covered is not None:
        layers.append(covered_layer(result, source))
    return layers


def image_frame(result: Result, source: LayerInput) -> Frame:
    """Return the placement of the restored image.

    HR pixel j lies at LR coordinate (j − δ)/s, so pixel 0 lies at −δ/s.
    """
    scale = result.settings.scale
    origin = [-result.offset / scale if at is None else float(at) for at in source.plane.index]
    step = [1 / scale if at is None else 1.0 for at in source.plane.index]
    return source.frame.resampled(origin, step)


def image_layer(result: Result, source: LayerInput) -> LayerData:
    """Return the restored image as layer data.

    Grey images stay float32 in the source's unit, unclipped. RGB images come back in the
    source's type, because napari shows RGB within the range of the type only.
    """
    settings = result.settings
    data = result.image if source.axes == "YX" else _as_rgb(result.image, source.data.dtype)
    looks = source.appearance
    attributes = {
        "name": f"{source.name} ×{settings.scale} ({settings.method})",
        "gamma": looks.gamma,
        "blending": looks.blending,
        "opacity": looks.opacity,
        "interpolation2d": looks.interpolation2d,
        "rgb": source.axes == "YXC",
        "metadata": {METADATA_KEY: provenance(result, source, kind="image")},
        **image_frame(result, source).attributes(),
    }
    if source.axes == "YX":
        attributes["colormap"] = looks.colormap
        attributes["contrast_limits"] = _contrast_limits(data, looks.contrast_limits)
    return _stacked(data, source), attributes, "image"


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
    return _stacked(data, source), attributes, "image"


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
    settings = result.settings
    # Flipping the kernel flips its centre.
    side = result.kernel.shape[0]
    center = (side - 1 - result.kernel_center[0], side - 1 - result.kernel_center[1])
    psf = _centred(result.psf, center)
    attributes = {
        "name": f"{source.name} PSF ×{settings.scale} ({settings.method})",
        "colormap": "inferno",
        "contrast_limits": (0.0, float(psf.max())),
        "blending": source.appearance.blending,
        "metadata": {METADATA_KEY: provenance(result, source, kind="kernel")},
        **_beside(result, source, psf.shape).attributes(),
    }
    return _stacked(psf, source), attributes, "image"


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
        record["correlation_kernel"] = result.kernel.astype(float).tolist()
    return record


def is_result(layer: Layer) -> bool:
    """Tell whether a layer was made by `result_layers`."""
    record = layer.metadata.get(METADATA_KEY)
    return isinstance(record, dict) and "source" in record


def _mask_layer(
    mask: NDArray[np.bool_], meaning: str, result: Result, source: LayerInput
) -> LayerData:
    attributes = {
        "name": f"{source.name} ×{result.settings.scale} {meaning}",
        "opacity": 0.5,
        "colormap": {None: "transparent", 1: MASK_COLOURS[meaning]},
        # Shown in the status bar.
        "features": {"index": [1], "meaning": [meaning]},
        "metadata": {METADATA_KEY: provenance(result, source, kind=meaning)},
        **image_frame(result, source).attributes(),
    }
    return _stacked(mask.astype(np.uint8), source), attributes, "labels"


def _beside(result: Result, source: LayerInput, shape: tuple[int, ...]) -> Frame:
    """Return a frame right of the image, its top level with it, for an array of a shape."""
    row, column = source.plane.axes
    frame = image_frame(result, source)
    image_low, image_high = frame.edges(_spatial(result.image.shape[:2], source))
    low, _ = frame.edges(_spatial(shape, source))
    shift = np.zeros(len(image_low))
    shift[row] = image_low[row] - low[row]
    gap = 0.05 * (image_high[column] - image_low[column])
    shift[column] = image_high[column] + gap - low[column]
    return frame.moved(shift)


def _spatial(shape: tuple[int, ...], source: LayerInput) -> tuple[int, ...]:
    """Return the shape of a plane among the axes of its layer, one pixel thick elsewhere."""
    sides = dict(zip(source.plane.axes, shape, strict=True))
    return tuple(sides.get(axis, 1) for axis in range(len(source.plane.index)))


def _stacked(plane: NDArray[Any], source: LayerInput) -> NDArray[Any]:
    # One pixel thick along the axes that were cut, so that it shows at its slice only.
    return np.expand_dims(plane, source.plane.others)


def _as_rgb(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
    return np.clip(image, 0, 1)


def _contrast_limits(data: NDArray[np.float32], source: tuple[float, float]) -> tuple[float, float]:
    # The source's limits keep both comparable; restored peaks may exceed them, and a few
    # single pixels shall not darken the rest.
    low, high = source
    return low, max(high, float(np.quantile(data, 0.999)))


def _centred(kernel: NDArray[np.float32], center: tuple[float, float]) -> NDArray[np.float32]:
    """Pad a kernel with zeros so that its centre, to half a pixel, is that of the array."""
    pads = []
    for position, size in zip(center, kernel.shape, strict=True):
        excess = round(2 * position - (size - 1))
        pads.append((max(-excess, 0), max(excess, 0)))
    return np.pad(kernel, pads)
