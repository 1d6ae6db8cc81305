"""The fields of the dock "Blind super-resolution", in the order in which they are shown."""

from __future__ import annotations

from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox, TupleEdit, create_widget
from magicgui.widgets.bases import CategoricalWidget, Widget
from napari.components import LayerList
from napari.layers import Image, Labels, Shapes

from napari_blindsr.methods import METHOD_TABLE, SCHEDULES, Schedule
from napari_blindsr.physics.kernels import FAMILIES
from napari_blindsr.plugin.layers.outputs import is_result
from napari_blindsr.plugin.layers.read import holds_own_kernel
from napari_blindsr.plugin.layers.shapes import VIEW
from napari_blindsr.plugin.widgets.devices import device_label
from napari_blindsr.plugin.widgets.fields import (
    NO_LABEL,
    AutoNumber,
    LayerChooser,
    OptionalChoice,
    SeedField,
    advanced_field,
    border_field,
    geometry_field,
    kernel_layer_field,
    path_field,
    text_line,
)
from napari_blindsr.settings import ONE_BLUR
from napari_blindsr.types import PRECISIONS, QUALITIES, SCALES, Finish, Quality

CURRENT, ALL, RANGE = "current", "all", "range"
KNOWN = "known"

RESTORATIONS = (5, 9, 17)
"""Numbers of restorations that an error map can be computed from."""

MOST_REGIONS = 32
"""Most regions along each axis."""

TIMES: dict[Quality, str] = {"fast": "Fast (seconds)", "refined": "Careful (four times as long)"}
"""Names of the qualities."""

FINISH_LABELS: dict[Finish, str] = {
    "prior": "Image prior",
    "usrnet": "USRNet",
    "measurement": "Classical (no neural network)",
    # Last, because that is where it is added when it is offered again.
    "none": "None",
}

TILES = (512, 1024, 1536, 2048)


def finishes(*, optimises: bool) -> list[tuple[str, Finish]]:
    """Return the reconstructions on offer; only methods that optimise have an image without one."""
    offered = {name: label for name, label in FINISH_LABELS.items() if optimises or name != "none"}
    return [(label, name) for name, label in offered.items()]


def uncertainties(finish: Finish) -> list[tuple[str, int]]:
    """Return the error maps on offer: the image prior predicts one, others need several runs."""
    if finish == "prior":
        return [("Off", 0), ("Quick (one extra run)", 1)]
    return [("Off", 0), *((f"From {n} restorations", n) for n in RESTORATIONS)]


def image_field() -> CategoricalWidget[Image]:
    """Return the field for the image."""
    field = create_widget(
        annotation=Image,
        name="image",
        label="Image",
        options={
            "tooltip": "Image layer to restore: 2-D grey or RGB, or the plane on display of a "
            "stack.\nFollows the selected layer until another one is chosen here; choosing the\n"
            "selected layer makes it follow again."
        },
    )
    # napari registers its layer types as choices.
    assert isinstance(field, CategoricalWidget)
    return field


def extent_fields(layers: LayerList) -> list[Widget]:
    """Return the fields for the part of a layer that is restored."""
    axes = LineEdit(
        name="axes",
        label="Axes",
        tooltip="The axes of the layer, a letter each, such as CYX: C channels, Z depth, T\n"
        "time, Y rows, X columns. They become the labels of the layer's axes.\n"
        "Channels can have a kernel each.",
    )
    planes = ComboBox(
        name="planes",
        label="Planes",
        choices=[("Current plane", CURRENT), ("All planes", ALL), ("Range …", RANGE)],
        tooltip="Which planes of a layer with more than two dimensions. Each is restored\n"
        "alone: nothing is sharpened along Z. The two axes on display are Y and X.",
    )
    planes_range = LineEdit(
        name="range",
        label=NO_LABEL,
        tooltip="Planes such as T=0:10,C=1: an index, or a range whose end is excluded, along\n"
        "some axes; all planes along the other axes. The letters are the labels of the\n"
        "layer's axes.",
    )
    region = LayerChooser(
        layers,
        lambda layer: isinstance(layer, Shapes) and not is_result(layer),
        name="region",
        label="Region",
        none="Whole image",
        first=[("Visible field of view", VIEW)],
        tooltip="The part of the image that is restored. The blur is estimated around it as\n"
        "well. Of a Shapes layer it is the box around the selected shapes, or around all of\n"
        "them. Use it to try settings before the whole image.",
    )
    return [axes, planes, planes_range, region]


def scale_fields() -> list[Widget]:
    """Return the fields for the scale, the sizes, the time, and whether more fields are shown."""
    scale = ComboBox(
        name="scale",
        label="How much finer",
        value=4,
        choices=[(f"×{scale}" if scale > 1 else "×1 (deblur)", scale) for scale in SCALES],
        tooltip="How many times finer the pixels of the result are, along each axis.\n"
        "×1 removes blur and keeps the pixels. Where noise hides fine detail, a larger scale\n"
        "adds pixels, but no information.",
    )
    size = text_line(
        "Height × width in pixels, of the image and of the result.", name="size_row", label=NO_LABEL
    )
    advice = text_line(
        "Estimated from the blur and the noise of the middle of the plane on display.",
        name="advice",
        label=NO_LABEL,
    )
    quality = ComboBox(
        name="quality",
        label="How much time",
        choices=[(TIMES[name], name) for name in QUALITIES],
        tooltip="Fast: the image is restored once. Careful: it is restored in four rotations,\n"
        "whose mean is a little nearer to the truth and has fewer artefacts.",
    )
    return [scale, advice, size, quality, advanced_field()]


def method_fields() -> list[Widget]:
    """Return the fields for the method."""
    method = ComboBox(
        name="method",
        label="Method",
        choices=[(method.label, method.name) for method in METHOD_TABLE],
        tooltip="Fast: seconds, pretrained networks. MLMC: minutes, learns from your image\n"
        "alone. DDSR: the same, also for dark, noisy or masked images. With USRNet\n"
        "that network reconstructs the image with the estimated kernel; it needs its\n"
        "published weights.",
    )
    weights = path_field(
        FileDialogMode.EXISTING_FILE,
        name="weights",
        label="Weights",
        filter="*.pth",
        tooltip="File with the published weights of USRNet. Without one, the file in the\n"
        "environment variable NAPARI_BLINDSR_USRNET; without that, they are downloaded\n"
        "once.",
    )
    finish = OptionalChoice(
        name="finish",
        label="Reconstruction",
        none="Default",
        choices=finishes(optimises=True),
        tooltip="How the image is reconstructed once the kernel is estimated. The image\n"
        "prior, which ships, and USRNet are neural networks. Classical uses sparse gradients:\n"
        "nothing in it was learnt from images.",
    )
    return [method, weights, finish, *_optimisation_fields()]


def _optimisation_fields() -> list[Widget]:
    steps = SpinBox(
        name="steps",
        label="Steps",
        value=Schedule().image_steps,
        min=1,
        max=100_000,
        step=50,
        tooltip="Steps of the image generator; the phases of the schedule scale with it.\n"
        "Until you change it, the number that suits the kernel. Fewer steps take less time\n"
        "and restore less.",
    )
    schedule = ComboBox(
        name="schedule",
        label="Schedule",
        choices=[(name.capitalize(), name) for name in SCHEDULES],
        tooltip="Published: the numbers of the publications. Reference: also as in the\n"
        "released programs, which do not centre the kernel.",
    )
    channels = SpinBox(
        name="channels",
        label="Generator width",
        value=Schedule().channels,
        min=1,
        max=1024,
        step=16,
        tooltip=f"Width of the image generator. {Schedule().channels} were published;\n"
        "fewer take less time and memory.",
    )
    bounded = OptionalChoice(
        name="bounded",
        label="Intensity range",
        none="Default",
        choices=[("Unlimited", False), ("That of the image", True)],
        tooltip="Range of the result's intensities. Blur lowers peaks, so the default is\n"
        "unlimited, except with the benchmark geometry.",
    )
    return [steps, schedule, channels, bounded]


def blur_fields(layers: LayerList, families: list[Widget]) -> list[Widget]:
    """Return the fields for the blur; `families` are those of the kernel families."""
    kernel = ComboBox(
        name="kernel",
        label="Blur type",
        choices=[*((family.label, family.name) for family in FAMILIES), ("PSF layer", KNOWN)],
        tooltip="What caused the blur? Leave Automatic if unsure, or choose a PSF layer.",
    )
    sharing = ComboBox(
        name="sharing",
        label="Kernels",
        choices=[
            ("One per channel", "channel"),
            ("One for all planes", "shared"),
            ("One per plane", "plane"),
        ],
        tooltip="Which planes share a kernel. One per channel holds along time, depth and all\n"
        "other axes: it is estimated from the planes with the most detail, which is faster.\n"
        "Channels are the axis with the label 'c' or 'channel'.",
    )
    warm_start = CheckBox(
        name="warm_start",
        text="Start from the previous plane",
        tooltip="MLMC and DDSR start each plane from the result of the plane before it in\n"
        "time, or in depth, within its channel, and take fewer steps. Fast, with a\n"
        "kernel for each plane, filters the estimates along the planes.",
    )
    field = TupleEdit(
        name="field",
        label="Blur varies (rows × columns)",
        value=ONE_BLUR,
        options={"min": 1, "max": MOST_REGIONS},
        tooltip="Rows × columns of regions of the image that have a blur each, as behind many\n"
        "lenses. It is estimated in each region, smoothed over neighbouring regions, and\n"
        "interpolated between their middles. 1 × 1 is one blur for all.",
    )
    known = kernel_layer_field(layers, "kernel_layer")
    return [kernel, *families, known, sharing, warm_start, field]


def input_fields(layers: LayerList) -> list[Widget]:
    """Return the fields for noise, missing pixels and the geometry of the image."""
    noise = AutoNumber(
        0.0,
        name="noise",
        label="Noise (SD)",
        low=0.0,
        high=1e6,
        step=1.0,
        zero="none",
        tooltip="Standard deviation of the noise, in the unit of the image: DDSR does not\n"
        "fit it, and the reconstruction removes it. Estimate takes it from the\n"
        "image, and so does none with the camera geometry.",
    )
    mask = LayerChooser(
        layers,
        lambda layer: isinstance(layer, Labels | Shapes) and not is_result(layer),
        name="mask",
        label="Ignore",
        tooltip="Layer that marks pixels to ignore; they are filled in. Labels: nonzero\n"
        "pixels, in the size of the image. Shapes: what lies inside, and lines as wide as\n"
        "they are drawn. Values that are not finite are always ignored.",
    )
    saturated = CheckBox(
        name="mask_saturated",
        text="Ignore saturated pixels",
        tooltip="Ignore pixels at the largest value of an integer type; they are filled in.",
    )
    gain = AutoNumber(
        1.0,
        name="gain",
        label="Gain",
        low=0.0,
        high=100.0,
        step=0.05,
        tooltip="Brightness of the image relative to the result: 0.3 for a dark image that\n"
        "is to be brightened. Estimate takes its brightest pixels for white.",
    )
    return [noise, mask, saturated, gain, geometry_field(), border_field()]


def result_fields(layers: LayerList) -> list[Widget]:
    """Return the fields for the layers of the result, and for what it is compared with."""
    uncertainty = ComboBox(
        name="uncertainty",
        label="Error map",
        choices=uncertainties("prior"),
        tooltip="Standard deviation of each pixel's error, as a layer below the result: the\n"
        "usual error of the image prior there; without it, from the spread of results with\n"
        "other plausible kernels and new noise. Each restoration takes as long as the result.",
    )
    lacking = CheckBox(
        name="lacking",
        text="Mark poorly supported pixels",
        tooltip="Add a Labels layer of pixels that less than half of their data support: at\n"
        "the border, and where pixels of the image are missing.",
    )
    dtype = ComboBox(
        name="dtype",
        label="Type",
        choices=[("32-bit floating point", "float32"), ("As the image", "source")],
        tooltip="Type of the result. Floating point is not clipped. The type of the image is\n"
        "rounded and clipped to its range, and takes less memory. RGB always has it.",
    )
    folder = path_field(
        FileDialogMode.EXISTING_DIRECTORY,
        name="folder",
        label="Write to Zarr",
        tooltip="Folder to which results are written plane by plane, as OME-Zarr; their\n"
        "layers read from there. Without one they stay in memory.",
    )
    truth = LayerChooser(
        layers,
        lambda layer: isinstance(layer, Image) and not holds_own_kernel(layer),
        name="truth",
        label="Ground truth",
        none="That of a sample",
        tooltip="Image layer of the true image, in pixels of the result. Curves show the PSNR\n"
        "against it during the run; it has no influence on the result. Samples and simulated\n"
        "images bring their own.",
    )
    return [uncertainty, lacking, dtype, folder, truth]


def computation_fields() -> list[Widget]:
    """Return the fields for device, precision, tiles and seed."""
    device = ComboBox(
        name="device",
        label="Device",
        choices=[(device_label(name), name) for name in ("auto", "cpu")],
        tooltip="Where to compute. Automatic takes a GPU if torch can use one.",
    )
    precision = ComboBox(
        name="precision",
        label="Precision",
        choices=[("Automatic", "auto"), *[(name, name) for name in PRECISIONS[1:]]],
        tooltip="Number format of the networks. Automatic takes bfloat16 where the device\n"
        "computes it natively.",
    )
    tiles: Any = OptionalChoice(
        name="tiles",
        label="Tiles",
        none="In one go",
        choices=[("Automatic", "auto"), *[(f"At most {n} pixels", n) for n in TILES]],
        tooltip="Side, in pixels of the result, of the tiles in which a large result is\n"
        "reconstructed, without seams: smaller ones take less memory. Automatic uses tiles\n"
        "for results larger than 2048 × 2048 pixels.",
    )
    tiles.value = "auto"
    seed = SeedField(
        name="seed",
        label="Seed",
        tooltip="Seed of the random numbers. The same seed repeats a run; another one shows\n"
        "how much the result depends on chance.",
    )
    return [device, precision, tiles, seed]
