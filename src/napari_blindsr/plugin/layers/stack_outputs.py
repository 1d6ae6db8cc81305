"""From the result of a stack to layers: all planes in one, in the axes of their source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.images.axes import PLANE_AXES, SAMPLES
from napari_blindsr.plugin.layers.outputs import (
    METADATA_KEY,
    finer_frame,
    image_attributes,
    kernel_attributes,
    mask_attributes,
    montage_attributes,
    result_layers,
)
from napari_blindsr.plugin.layers.psf import montage, shown_psf
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.plugin.layers.frame import Frame
    from napari_blindsr.plugin.layers.inputs import Source, StackInput
    from napari_blindsr.plugin.layers.outputs import LayerData
    from napari_blindsr.plugin.layers.zarr_output import Stored
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.types import OutputType


def layers_of(
    result: Result | StackResult,
    source: Source,
    *,
    lacking: bool = False,
    dtype: OutputType = "float32",
    stored: Stored | None = None,
) -> list[LayerData]:
    """Return the layers of any result: as `result_layers`, or as `stack_layers`."""
    if isinstance(result, StackResult):
        return stack_layers(result, source, stored)  # type: ignore[arg-type]
    return result_layers(result, source, lacking=lacking, dtype=dtype)  # type: ignore[arg-type]


def stack_layers(
    result: StackResult, source: StackInput, stored: Stored | None = None
) -> list[LayerData]:
    """Return the restored planes, the point spread functions, and a mask as layer data.

    Parameters
    ----------
    result : StackResult
    source : StackInput
        What the run was given.
    stored : Stored, optional
        Where the restored planes are, if the result itself does not hold them.

    Returns
    -------
    list of (data, attributes, "image" or "labels")
        In the order in which they lie on each other.
    """
    pixels = result.image if stored is None else stored.array
    frame = finer_frame(source, scale=result.settings.scale, offset=result.offset)
    image = _image(result, source, frame, pixels)
    if stored is not None:
        image[1]["metadata"][METADATA_KEY]["file"] = str(stored.path)
    kernels = _kernels(result, source, frame)
    varies = any(entry.field is not None for entry in result.kernels)
    layers = [image] if varies else [kernels, image]
    if result.covered is not None:
        layers.append(_covered(result, source, frame))
    if varies:
        # Over the regions that they belong to.
        layers.append(kernels)
    return layers


def _image(result: StackResult, source: StackInput, frame: Frame, pixels: Any) -> LayerData:
    if source.is_rgb and pixels.dtype.kind == "f":
        # Of a lazy array as well, when it is read.
        pixels = pixels.clip(0, 1)
    attributes = image_attributes(
        source,
        settings=result.settings,
        frame=frame,
        record=_provenance(result, source, kind="image"),
    )
    return pixels, attributes, "image"


def _kernels(result: StackResult, source: StackInput, frame: Frame) -> LayerData:
    """Return a point spread function for each plane, beside it, or several over it."""
    fields = [entry.field for entry in result.kernels if entry.field is not None]
    psfs = _padded(
        [
            shown_psf(k.kernel, (k.center, k.center))
            if k.field is None
            else montage(k.field, k.center)
            for k in result.kernels
        ]
    )
    loops = tuple(map(len, result.selection))
    if len(psfs) == 1:
        # One for all takes the memory of one.
        stacked = np.broadcast_to(psfs[0], (*loops, *psfs[0].shape))
    else:
        stacked = np.zeros((*loops, *psfs[0].shape), dtype=np.float32)
        for psf, entry in zip(psfs, result.kernels, strict=True):
            for index in entry.indices:
                stacked[_position(result, index)] = psf
    record = _provenance(result, source, kind="kernel")
    record["shown"] = "point spread functions: the correlation kernels flipped in both axes"
    kernels = [entry.kernels.astype(float).tolist() for entry in result.kernels]
    # The key of a single one is where a known kernel is looked for.
    record |= (
        {"correlation_kernels": kernels} if len(kernels) > 1 else {"correlation_kernel": kernels[0]}
    )
    top = max(float(psf.max()) for psf in psfs)
    if fields:
        # What tells a grid from one kernel, wherever the layer is used again.
        record["field"] = fields[0].report()
        height, width = psfs[0].shape
        attributes = montage_attributes(
            source, fields[0], (height, width), settings=result.settings, top=top, record=record
        )
        return _ordered(stacked, result), attributes, "image"
    attributes = kernel_attributes(
        source,
        psfs[0].shape,
        settings=result.settings,
        top=top,
        frame=frame,
        record=record,
    )
    return _ordered(stacked, result), attributes, "image"


def _covered(result: StackResult, source: StackInput, frame: Frame) -> LayerData:
    assert result.covered is not None
    attributes = mask_attributes(
        source,
        "filled in",
        settings=result.settings,
        frame=frame,
        record=_provenance(result, source, kind="filled in"),
    )
    return _ordered(result.covered.astype(np.uint8), result), attributes, "labels"


def _provenance(result: StackResult, source: StackInput, *, kind: str) -> dict[str, Any]:
    return {"kind": kind, "source": source.provenance(), **result.report()}


def _position(result: StackResult, index: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(chosen.index(at) for chosen, at in zip(result.selection, index, strict=True))


def _ordered(stacked: NDArray[Any], result: StackResult) -> NDArray[Any]:
    """Return an array whose planes come last with its axes in the order of the result's."""
    axes = result.loop_axes + PLANE_AXES
    return stacked.transpose([axes.index(axis) for axis in result.axes if axis != SAMPLES])


def _padded(psfs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return point spread functions in arrays of one size, their middles in the middle."""
    sides = [max(psf.shape[axis] for psf in psfs) for axis in (0, 1)]
    padded = []
    for psf in psfs:
        missing = [side - n for side, n in zip(sides, psf.shape, strict=True)]
        padded.append(np.pad(psf, [(n // 2, n - n // 2) for n in missing]))
    return padded
