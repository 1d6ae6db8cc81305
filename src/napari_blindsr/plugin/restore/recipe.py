"""A run as a script and as a command line that repeat it."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.images.axes import SAMPLES
from napari_blindsr.images.files import open_image
from napari_blindsr.methods import Schedule, method_named
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.physics.kernels.airy import Airy
from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.layers.read import array_of
from napari_blindsr.plugin.layers.stacks import layer_layout, plane_text

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_blindsr.plugin.layers.inputs import LayerInput
    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.settings import Settings

PLAIN = (
    *("method", "geometry", "border", "gain", "noise", "finish", "usrnet_weights", "quality"),
    *("seed", "device", "precision", "threads", "tile", "uncertainty"),
)
"""Settings whose options have their names and take their values."""
KERNEL_OPTIONS = {
    "variance": "sigma",
    "half_length": "length",
    "numerical_aperture": "na",
    "pixel_size": "pixel-size",
    "refractive_index": "index",
}
"""Options of a kernel family's parameters where they have another name."""
COLOURS = 3
OME_AXES = {*"TZCYX", SAMPLES}
NO_FILE = "The image was not opened from a file; save it and open it first."
NO_COMMAND = "The command line takes no layers: save the {what} to a file first."


def python_text(request: Request, layer: Image) -> str:
    """Return a script for napari's console, or for an interpreter that has its viewer."""
    source, settings = request.source, request.settings
    imports = ["napari"]
    image = f"viewer.layers[{layer.name!r}].data"
    if layer.multiscale:
        image += "[0]"
    if layer.rgb and array_of(layer).shape[-1] > COLOURS:
        image += f"[..., :{COLOURS}]"
    several = source.options is not None
    arguments = [f"Settings.from_json({settings.to_json()!r})"]
    if source.options is not None:
        options = {
            field.name: getattr(source.options, field.name)
            for field in dataclasses.fields(source.options)
            if getattr(source.options, field.name) != field.default
        }
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        arguments += [f"axes={source.axes!r}", f"options=StackOptions({given})"]
    else:
        index = ", ".join(":" if at is None else str(at) for at in source.plane.index)
        image += f"[{index}]" if len(source.plane.index) > 2 else ""
        arguments.append(f"axes={source.axes!r}")
        if source.region is not None:
            arguments.append(f"region={source.region!r}")
    lines = []
    modules = []
    if source.mask is not None:
        # The pixels within shapes, and the plane of labels, as the dock finds them.
        modules = ["read import read_layer", "shapes import read_mask"]
        lines += [
            f"shown = read_layer(viewer.layers[{layer.name!r}], viewer.dims)",
            f"mask = read_mask(viewer.layers[{source.mask.name!r}], shown, viewer.dims).covered",
        ]
        arguments.append("mask=mask")
    if source.kernel is not None:
        lines.append("# The kernel of the layer when this was copied.")
        lines.append(f"kernel = np.array({source.kernel.kernel.astype(float).tolist()})")
        arguments.append("known_kernel=kernel")
        imports.append("numpy as np")
    call = "iterate_stack" if several else "iterate"
    names = ["Box", "Settings", *(["StackOptions"] if several else []), call]
    head = [f"import {name}" for name in imports]
    head += [
        "",
        f"from napari_blindsr import {', '.join(names)}",
        *(f"from napari_blindsr.plugin.layers.{module}" for module in modules),
        "from napari_blindsr.progress import drained",
        "",
        "viewer = napari.current_viewer()",
        f"image = {image}",
    ]
    joined = ",\n    ".join(["image", *arguments])
    return "\n".join([*head, *lines, f"result = drained({call}(\n    {joined},\n))", ""])


def command_text(request: Request, layer: Image) -> str:
    """Return a command line; raises an `InputError` if image, mask or kernel are in no file."""
    source, settings = request.source, request.settings
    path = record_of(layer).get("path") or layer.source.path
    if path is None:
        raise InputError(NO_FILE)
    for what, given in (("mask", source.mask), ("PSF", source.kernel)):
        if given is not None:
            raise InputError(NO_COMMAND.format(what=what))
    axes = layer_layout(layer, source.plane).axes
    held = _file_axes(str(path), record_of(layer).get("series"))
    # A layer of one channel of a file lacks that axis.
    channel = -1 if held is None or "C" in axes else held.find("C")
    if channel >= 0 and held is not None and len(held) == len(axes) + 1:
        axes = f"{axes[:channel]}C{axes[channel:]}"
    output = f"restored x{settings.scale}{'.ome.tif' if set(axes) <= OME_AXES else '.tif'}"
    words = ["napari-blindsr", "restore", str(path), "--output", output]
    if held is not None and held != axes and len(held) == len(axes):
        words += ["--axes", axes]
    words += _plane_words(source, layer)
    words += _setting_words(settings)
    if request.kernel_folder is not None:
        words += ["--kernel", str(request.kernel_folder)]
    elif isinstance(settings.kernel, KernelFamily):
        words += _kernel_words(settings.kernel)
    return shlex.join(words)


def _file_axes(path: str, series: int | None) -> str | None:
    """Return the axes of a file as the command line reads them, None if it cannot."""
    try:
        return open_image(path, series=series).description.axes
    except BlindSRError:
        return None


def _plane_words(source: LayerInput, layer: Image) -> list[str]:
    record = record_of(layer)
    chosen = [f"C={record['number']}"] if record.get("number") is not None else []
    words: list[str] = []
    if record.get("series") is not None:
        words += ["--series", str(record["series"])]
    if source.options is not None:
        if source.options.planes:
            chosen.append(source.options.planes)
        words += ["--kernels", source.options.kernels, "--dtype", source.options.dtype]
        words += ["--warm-start"] if source.options.warm_start else []
    else:
        # One plane, whose kernel is its own.
        words += ["--kernels", "plane"]
        chosen += [text for text in (plane_text(layer, source.plane),) if text]
    if chosen:
        words += ["--planes", ",".join(chosen)]
    if source.region is not None:
        rows, columns = source.region.slices
        words += ["--roi", f"{rows.start}:{rows.stop},{columns.start}:{columns.stop}"]
    return words


def _setting_words(settings: Settings) -> list[str]:
    """Return the options of the settings that are no defaults."""
    usual = type(settings)(scale=settings.scale)
    words = ["--scale", str(settings.scale)]
    for name in PLAIN:
        value = getattr(settings, name)
        if value != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", "none" if value is None else str(value)]
    if settings.bounded is not None:
        words.append("--bounded" if settings.bounded else "--unbounded")
    if settings.mask_saturated:
        words.append("--mask-saturated")
    if settings.field != usual.field:
        words += ["--field", "{}x{}".format(*settings.field)]
    for name, value in zip(("na", "emission", "pixel-size"), _optics(settings), strict=True):
        words += [] if value is None else [f"--{name}", str(value)]
    if method_named(settings.method).optimises:
        words += _schedule_words(settings)
    return words


def _optics(settings: Settings) -> tuple[float | None, ...]:
    if isinstance(settings.kernel, Airy):
        # Its own parameters have the same options.
        return (None, None, None)
    known = settings.optics
    return (known.numerical_aperture, known.emission_nm, known.pixel_size_nm)


def _schedule_words(settings: Settings) -> list[str]:
    family = settings.kernel.name if isinstance(settings.kernel, KernelFamily) else settings.kernel
    steps = settings.schedule.image_steps
    for name in ("published", "reference"):
        if Schedule.named(name, kernel=family).scaled(steps) == settings.schedule:
            return ["--schedule", name, "--steps", str(steps)]
    raise InputError("The command line has no option for the generator width; use the default.")


def _kernel_words(family: KernelFamily) -> list[str]:
    """Return the options of a kernel family and of its parameters that are no defaults."""
    words = ["--kernel", family.name] if family.name != "auto" else []
    for parameter in dataclasses.fields(family):
        value = getattr(family, parameter.name)
        if "label" not in parameter.metadata or value is None:
            # Nobody sets it, or it is automatic.
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if parameter.name == "variance":
            numbers = tuple(number**0.5 for number in numbers)
        elif parameter.name == "half_length":
            # The bar covers the pixel in its middle as well.
            numbers = tuple(2 * number + 1 for number in numbers)
        words += [f"--{KERNEL_OPTIONS.get(parameter.name, parameter.name)}", *map(str, numbers)]
    return words
