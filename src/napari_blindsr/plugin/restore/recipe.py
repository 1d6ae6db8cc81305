"""A run as a script and as a command line that repeat it."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.images.axes import SAMPLES
from napari_blindsr.images.files import open_image
from napari_blindsr.methods import Schedule, method_named
from napari_blindsr.physics.kernels import Gaussian, KernelFamily, Line, Motion
from napari_blindsr.physics.kernels.airy import Airy
from napari_blindsr.physics.kernels.disk import Disk
from napari_blindsr.plugin.layers.inputs import StackInput
from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.layers.read import array_of
from napari_blindsr.plugin.layers.stacks import layer_layout, plane_text

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.settings import Settings

PLAIN = (
    *("method", "geometry", "border", "gain", "noise", "finish", "usrnet_weights", "quality"),
    *("seed", "device", "precision", "threads", "tile", "uncertainty"),
)
"""Settings whose options have their names and take their values."""
COLOURS = 3
OME_AXES = {*"TZCYX", SAMPLES}
NO_FILE = "The image was not opened from a file; save it and open it first."
NO_COMMAND = "The command line takes no layers: save the {what} to a file first."


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The run, its image layer, and the layers of mask and kernel."""

    request: Request
    layer: Image
    mask: Layer | None = None
    kernel: Layer | None = None


def python_text(recipe: Recipe) -> str:
    """Return a script for napari's console, or for an interpreter that has its viewer."""
    request = recipe.request
    source, settings = request.source, request.settings
    imports = ["napari"]
    image = f"viewer.layers[{recipe.layer.name!r}].data"
    if recipe.layer.multiscale:
        image += "[0]"
    if recipe.layer.rgb and array_of(recipe.layer).shape[-1] > COLOURS:
        image += f"[..., :{COLOURS}]"
    several = isinstance(source, StackInput)
    arguments = [f"Settings.from_json({settings.to_json()!r})"]
    if isinstance(source, StackInput):
        options = {
            field.name: getattr(source.options, field.name)
            for field in dataclasses.fields(source.options)
            if getattr(source.options, field.name) != field.default
        }
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        arguments += [f"axes={source.layout.axes!r}", f"options=StackOptions({given})"]
    else:
        index = ", ".join(":" if at is None else str(at) for at in source.plane.index)
        image += f"[{index}]" if len(source.plane.index) > 2 else ""
        arguments.append(f"axes={source.axes!r}")
        if source.region is not None:
            arguments.append(f"region={source.region!r}")
    lines = []
    modules = []
    if source.mask is not None and recipe.mask is not None:
        # The pixels within shapes, and the plane of labels, as the dock finds them.
        modules = ["read import read_layer", "shapes import read_mask"]
        lines += [
            f"shown = read_layer(viewer.layers[{recipe.layer.name!r}], viewer.dims)",
            f"mask = read_mask(viewer.layers[{recipe.mask.name!r}], shown, viewer.dims).covered",
        ]
        arguments.append("mask=mask")
    if source.kernel is not None and recipe.kernel is not None:
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


def command_text(recipe: Recipe) -> str:
    """Return a command line; raises an `InputError` if image, mask or kernel are in no file."""
    request = recipe.request
    source, settings = request.source, request.settings
    path = _path_of(recipe.layer)
    if path is None:
        raise InputError(NO_FILE)
    for what, given in (("mask", source.mask), ("PSF", source.kernel)):
        if given is not None:
            raise InputError(NO_COMMAND.format(what=what))
    axes = layer_layout(recipe.layer, source.plane).axes
    held = _file_axes(recipe.layer)
    # A layer of one channel of a file lacks that axis.
    channel = -1 if held is None or "C" in axes else held.find("C")
    if channel >= 0 and held is not None and len(held) == len(axes) + 1:
        axes = f"{axes[:channel]}C{axes[channel:]}"
    ending = ".ome.tif" if set(axes) <= OME_AXES else ".tif"
    words = ["napari-blindsr", "restore", path, "--output", f"restored x{settings.scale}{ending}"]
    if held is not None and held != axes and len(held) == len(axes):
        words += ["--axes", axes]
    words += _plane_words(recipe)
    words += _setting_words(settings)
    return shlex.join(words)


def _path_of(layer: Image) -> str | None:
    record = record_of(layer)
    path = record.get("path") or layer.source.path
    return None if path is None else str(path)


def _file_axes(layer: Image) -> str | None:
    """Return the axes of a layer's file as the command line reads them, None if it cannot."""
    try:
        return open_image(
            _path_of(layer) or "", series=record_of(layer).get("series")
        ).description.axes
    except BlindSRError:
        return None


def _plane_words(recipe: Recipe) -> list[str]:
    source = recipe.request.source
    record = record_of(recipe.layer)
    chosen = [f"C={record['number']}"] if record.get("number") is not None else []
    words: list[str] = []
    if record.get("series") is not None:
        words += ["--series", str(record["series"])]
    if isinstance(source, StackInput):
        if source.options.planes:
            chosen.append(source.options.planes)
        words += ["--kernels", source.options.kernels, "--dtype", source.options.dtype]
        words += ["--warm-start"] if source.options.warm_start else []
    else:
        # One plane, whose kernel is its own.
        words += ["--kernels", "plane"]
        chosen += [text for text in (plane_text(recipe.layer, source.plane),) if text]
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
    if isinstance(settings.kernel, KernelFamily):
        words += _kernel_words(settings.kernel)
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
    given: dict[str, Any] = {}
    if isinstance(family, Gaussian) and family.variance is not None:
        given["sigma"] = tuple(value**0.5 for value in family.variance)
    elif isinstance(family, Disk):
        given["radius"] = family.radius
    elif isinstance(family, Line) and family.half_length is not None:
        # The bar covers the pixel in its middle as well.
        given["length"] = tuple(2 * value + 1 for value in family.half_length)
    elif isinstance(family, Motion):
        if family.kernels is not None:
            raise InputError(NO_COMMAND.format(what="folder of kernels"))
        given |= {"extent": family.extent, "persistence": family.persistence}
    elif isinstance(family, Airy):
        given |= {
            "na": family.numerical_aperture,
            "wavelength": family.wavelength,
            "pixel-size": family.pixel_size,
            "index": family.refractive_index,
            "defocus": family.defocus,
        }
    for name, value in given.items():
        if value is not None:
            numbers = value if isinstance(value, tuple) else (value,)
            words += [f"--{name}", *map(str, numbers)]
    return words
