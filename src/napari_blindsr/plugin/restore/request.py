"""The request of a run from the form, and how much memory it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError, SettingsError, WeightsError
from napari_blindsr.images.axes import chain_axis, parse_selection
from napari_blindsr.methods import method_named
from napari_blindsr.plugin.layers.inputs import LayerInput
from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.layers.read import (
    array_of,
    find_plane,
    nanometres,
    quoted,
    read_kernel_layer,
    read_layer,
    run_planes,
)
from napari_blindsr.plugin.layers.shapes import VIEW, read_mask, read_region
from napari_blindsr.plugin.layers.stacks import (
    axes_text,
    layer_layout,
    plane_text,
    read_part,
    read_stack,
)
from napari_blindsr.plugin.restore.form import RunForm
from napari_blindsr.plugin.widgets.devices import computes_in_half, free_memory
from napari_blindsr.plugin.widgets.texts import duration_text
from napari_blindsr.restoration.memory import estimate_memory, result_memory
from napari_blindsr.settings import Settings
from napari_blindsr.stacks.options import StackOptions

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_blindsr.plugin.layers.inputs import Plane
    from napari_blindsr.types import OutputType


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """All that a run needs.

    The truth (H, W) or (H, W, 3) is the true image, if it is known. The kernel folder is read by
    the run; without a target folder the result stays in memory. The layer and its array tell later
    whether it is still what was read. `lacking` and `dtype` are those of the result's layers;
    `in_view` is true for a region that the viewer shows.
    """

    source: LayerInput
    settings: Settings
    truth: NDArray[Any] | None = None
    kernel_folder: Path | None = None
    target_folder: Path | None = None
    layer: Image | None = None
    pixels: Any = None
    lacking: bool = False
    dtype: OutputType = "float32"
    in_view: bool = False


def read_request(form: RunForm, viewer: ViewerModel) -> Request:
    """Read the layers that a form names. Call it on the main thread.

    Raises a `BlindSRError` if a setting, a layer or the file of weights cannot be used.
    """
    settings = form.settings()
    layer = form.image.value
    form.label_axes(layer)
    source = _read_source(form, viewer)
    mask_layer, kernel_layer = form.mask.value, form.kernel_layer.value
    if form.chosen_method.degradations and mask_layer is not None:
        # The mask on the plane on display holds for all planes of a stack.
        shown = replace(source, plane=find_plane(layer, viewer.dims))
        source = replace(source, mask=read_mask(mask_layer, shown, viewer.dims))
    if settings.kernel == "known":
        if kernel_layer is None:
            raise InputError("no kernel layer is chosen; expected an image layer with the kernel")
        size = nanometres(source.frame, source.plane)
        kernel = read_kernel_layer(
            kernel_layer,
            viewer.dims,
            scale=settings.scale,
            pixel_size=None if size is None else size / settings.scale,
        )
        source = replace(source, kernel=kernel)
    if source.options is None and source.region is None:
        # Pixels that are read lazily are checked by the run.
        run_planes(source, settings)
    if settings.used_finish == "usrnet" and settings.usrnet_weights is not None:
        # Not before now: it imports what fetches files.
        from napari_blindsr.weights import local_usrnet  # noqa: PLC0415

        local_usrnet(settings.usrnet_weights)
    folder = None if form.family is None else form.family.folder
    return Request(
        source=source,
        settings=settings,
        truth=_read_truth(form, viewer, source),
        kernel_folder=folder,
        target_folder=form.target_folder,
        layer=layer,
        pixels=array_of(layer),
        lacking=form.lacking.value,
        dtype=form.dtype.value,
        in_view=form.region.value == VIEW,
    )


def _read_source(form: RunForm, viewer: ViewerModel) -> LayerInput:
    """Read the image, or prepare it to be read plane by plane."""
    layer, many = form.image.value, form.is_stack
    plane = find_plane(layer, viewer.dims)
    region = read_region(form.region.value, layer, plane, viewer, any_slice=many)
    if not many and form.target_folder is None:
        return read_layer(layer, viewer.dims) if region is None else read_part(layer, plane, region)
    options = StackOptions(
        kernels=form.sharing.value,
        # Files are written plane by plane, even a single one.
        planes=form.chosen_planes if many else plane_text(layer, plane),
        warm_start=form.warm_starts,
        region=region,
        # That of RGB stays, as napari shows no other range.
        dtype="source" if layer.rgb else form.dtype.value,
    )
    return read_stack(layer, plane, options)


def _read_truth(form: RunForm, viewer: ViewerModel, source: LayerInput) -> NDArray[Any] | None:
    """Return what a run should give: of the chosen layer, or of the one that a sample came with.

    Raises an `InputError` if the chosen layer does not fit.
    """
    if not form.chosen_method.optimises or source.options is not None:
        return None
    scale, chosen = form.scale.value, form.truth.value
    layer = _own_truth(form.image.value, viewer, scale) if chosen is None else chosen
    if layer is None:
        return None
    truth = read_layer(layer, viewer.dims)
    sizes = [tuple(scale * n for n in s) for s in (source.plane.shape, source.restored_shape)]
    if truth.plane.shape not in sizes or truth.is_rgb != source.is_rgb:
        if chosen is None:
            return None
        kind = "RGB" if source.is_rgb else "grey"
        found = "{} × {} px, {}".format(*truth.plane.shape, "RGB" if truth.is_rgb else "grey")
        raise InputError(
            f"the ground truth {quoted(layer)} has {found}; expected "
            f"{sizes[0][0]} × {sizes[0][1]} px, {kind}: {scale} times the image"
        )
    if source.region is not None and truth.plane.shape == sizes[0]:
        return np.asarray(truth.data[source.region.scaled(scale).slices])
    return np.asarray(truth.data)


def _own_truth(image: Image, viewer: ViewerModel, scale: int) -> Image | None:
    """Return the truth that a sample, or a simulation, has added with an image."""
    sample = record_of(image).get("sample")
    wanted = {"kind": "truth", "sample": sample, "scale": scale}
    for layer in viewer.layers:
        if sample is not None and wanted.items() <= record_of(layer).items():
            found: Image = layer
            return found
    return None


MUCH = 0.25
"""Share of the free memory above which a result should be written to disk."""
TOO_MUCH = 0.9
"""Share of the free memory that a run must not exceed."""


def size_text(form: RunForm, plane: Plane, viewer: ViewerModel) -> str:
    """Return the sizes of image and result, the memory of a run and what it lacks, in one line.

    Raises an `InputError` if the chosen region or planes do not exist.
    """
    layer, scale, many = form.image.value, form.scale.value, form.is_stack
    region = read_region(form.region.value, layer, plane, viewer, any_slice=many)
    height, width = plane.shape if region is None else region.shape
    parts = [f"{height} × {width} → {scale * height} × {scale * width} px"]
    if layer.ndim > 2 and not many:
        parts.insert(0, f"Only the plane on display ({plane_text(layer, plane)})")
    count = 1
    if many:
        layout = layer_layout(layer, plane)
        form.range.native.setPlaceholderText(axes_text(layer, layout))
        selection = parse_selection(form.chosen_planes, layout)
        count = math.prod(map(len, selection))
        form.show_neighbours(followed=chain_axis(layout.loop_axes, selection) is not None)
        parts.append(f"{count} planes" if count > 1 else "1 plane")
    hints = (form.optics.hint, "" if form.family is None else form.family.hint)
    parts += [hint for hint in hints if hint]
    try:
        settings = form.settings()
    except SettingsError:
        # Pressing Run shows the error.
        return " · ".join(parts)
    channels = 3 if layer.rgb else 1
    parts += memory_text(form, settings, (height, width), channels=channels, planes=count)
    if not many:
        parts += time_text((height, width), settings)
    return " · ".join([*parts, *weights_text(settings)])


_paces: dict[tuple[object, ...], float] = {}
"""Seconds that a step took for a pixel of the result, by what else it depends on."""


def _pace_key(settings: Settings) -> tuple[object, ...]:
    known = settings.kernel == "known"
    return settings.method, settings.device, settings.schedule.channels, known


def keep_pace(seconds: float | None, source: LayerInput, settings: Settings) -> None:
    """Keep how long a step of a finished run took, for `time_text`; a stack's do not count."""
    if seconds is not None and source.options is None:
        pixels = math.prod(source.restored_shape) * settings.scale**2
        _paces[_pace_key(settings)] = seconds / pixels


def time_text(shape: tuple[int, int], settings: Settings) -> list[str]:
    """Return about how long the steps for a plane (h, w) take, if an earlier run tells."""
    pace = _paces.get(_pace_key(settings))
    # Other methods take no such steps.
    if pace is None or not method_named(settings.method).optimises:
        return []
    pixels = math.prod(shape) * settings.scale**2
    return [f"takes about {duration_text(pace * pixels * settings.schedule.image_steps)}"]


def weights_text(settings: Settings) -> list[str]:
    """Return what to do if the run needs USRNet's weights and they are not on this machine."""
    if settings.used_finish != "usrnet":
        return []
    # Not before now: it imports what fetches files.
    from napari_blindsr.weights import local_usrnet  # noqa: PLC0415

    choose = "choose their file under Weights (Advanced)"
    try:
        found = local_usrnet(settings.usrnet_weights)
    except WeightsError:
        return [f"USRNet's weights cannot be used: {choose}"]
    if found is None:
        return [f"USRNet's weights are missing: the run downloads them; without internet, {choose}"]
    return []


def memory_text(
    form: RunForm, settings: Settings, shape: tuple[int, int], *, channels: int, planes: int
) -> list[str]:
    """Return how much of the free memory a run of planes (h, w) takes, and advice if it is much."""
    held = planes if form.target_folder is None else 0
    half = computes_in_half(settings.device, settings.precision, form.found)
    needed = estimate_memory(shape, channels, settings, planes=held, half=half)
    free = free_memory(settings.device, form.found)
    parts = [f"about {gigabytes(needed)} of {gigabytes(free)} free"]
    large = held * result_memory(shape, channels, settings) > MUCH * free
    if large:
        parts.append("large: Write to Zarr (Advanced) keeps the result on disk")
    if needed > TOO_MUCH * free:
        parts.append("it may not fit: choose a Region, or smaller Tiles (Advanced)")
    return parts


def gigabytes(count: int) -> str:
    """Return a number of bytes as a readable text."""
    value = count / 1e9
    if value < 0.095:
        return f"{max(10, round(count / 1e7) * 10)} MB"
    return f"{value:.1f} GB" if value < 9.95 else f"{value:.0f} GB"
