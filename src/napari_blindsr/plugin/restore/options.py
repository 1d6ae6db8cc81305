"""The rows of advanced settings."""

from __future__ import annotations

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, SpinBox, TupleEdit
from magicgui.widgets.bases import Widget
from napari.components import LayerList
from napari.layers import Labels, Shapes

from napari_blindsr.methods import SCHEDULES, Method, Schedule
from napari_blindsr.plugin.layers.outputs import is_result
from napari_blindsr.plugin.widgets.fields import (
    AutoNumber,
    LayerChooser,
    OptionalChoice,
    border_field,
    geometry_field,
    path_field,
)
from napari_blindsr.settings import ONE_BLUR
from napari_blindsr.types import OUTPUT_TYPES, PRECISIONS, QUALITIES, Finish, Quality

RESTORATIONS = (5, 9, 17)
"""Numbers of restorations that an error map can be computed from."""

NO_UNCERTAINTY = ("Off", 0)
MAP_ALONE = ("Quick (one extra run)", 1)

MOST_REGIONS = 32
"""Most regions along each axis."""

TIMES: dict[Quality, str] = {"fast": "Fast (seconds)", "refined": "Careful (a minute)"}
"""Names of the qualities of the blur estimate."""

FINISH_LABELS: dict[Finish, str] = {
    "prior": "Image prior",
    "usrnet": "USRNet",
    "measurement": "Classical (no neural network)",
    # Last, because that is where it is added when it is offered again.
    "none": "None",
}

TILES = (512, 1024, 1536, 2048)


class AdvancedOptions:
    """The advanced settings, and those that only some methods take."""

    def __init__(self, layers: LayerList) -> None:
        self._make_inputs(layers)
        self._finishes = tuple(FINISH_LABELS)
        self._has_map = True
        self.finish = OptionalChoice(
            none="Default",
            choices=lambda _: [(FINISH_LABELS[name], name) for name in self._finishes],
            tooltip="How the image is reconstructed once the kernel is estimated. The image\n"
            "prior, which ships, and USRNet are neural networks. Classical uses sparse gradients:\n"
            "nothing in it was learnt from images.",
        )
        self.quality = ComboBox(
            value=QUALITIES[0],
            choices=[(TIMES[name], name) for name in QUALITIES],
            tooltip="Fast: a network estimates the blur, in seconds. Careful: the estimate is\n"
            "then improved by how well the restored image explains the data; half a minute more,\n"
            "for small or unusual images. Camera shake is not improved.",
        )
        self.schedule = ComboBox(
            value=SCHEDULES[0],
            choices=[(name.capitalize(), name) for name in SCHEDULES],
            tooltip="Published: the numbers of the publications. Reference: also as in the\n"
            "released programs, which do not centre the kernel.",
        )
        self.channels = SpinBox(
            value=Schedule().channels,
            min=1,
            max=1024,
            step=16,
            tooltip=f"Width of the image generator. {Schedule().channels} were published;\n"
            "fewer take less time and memory.",
        )
        self.geometry, self.border = geometry_field(), border_field()
        self.bounded = OptionalChoice(
            none="Default",
            choices=[("Unlimited", False), ("That of the image", True)],
            tooltip="Range of the result's intensities. Blur lowers peaks, so the default is\n"
            "unlimited, except with the benchmark geometry.",
        )
        self.precision = ComboBox(
            value=PRECISIONS[0],
            choices=[("Automatic", "auto"), *[(name, name) for name in PRECISIONS[1:]]],
            tooltip="Number format of the networks. Automatic takes bfloat16 where the device\n"
            "computes it natively.",
        )
        self.lacking = CheckBox(
            text="Mark poorly supported pixels",
            tooltip="Add a Labels layer of pixels that less than half of their data support: at\n"
            "the border, and where pixels of the image are missing.",
        )
        self.dtype = ComboBox(
            value=OUTPUT_TYPES[0],
            choices=[("32-bit floating point", "float32"), ("As the image", "source")],
            tooltip="Type of the result. Floating point is not clipped. The type of the image is\n"
            "rounded and clipped to its range, and takes less memory. RGB always has it.",
        )
        self.tiles = OptionalChoice(
            none="In one go",
            choices=[("Automatic", "auto"), *[(f"At most {n} pixels", n) for n in TILES]],
            tooltip="Side, in pixels of the result, of the tiles in which a large result is\n"
            "reconstructed, without seams: smaller ones take less memory. Automatic uses tiles\n"
            "for results larger than 2048 × 2048 pixels.",
        )
        self.tiles.value = "auto"
        self.folder = path_field(
            FileDialogMode.EXISTING_DIRECTORY,
            tooltip="Folder to which results are written plane by plane, as OME-Zarr; their\n"
            "layers read from there. Without one they stay in memory.",
        )
        self.uncertainty = ComboBox(
            value=0,
            choices=self._uncertainties,
            tooltip="Standard deviation of each pixel's error, as a layer below the result: the\n"
            "usual error of the image prior there, and the spread of results with other\n"
            "plausible kernels and new noise. Each restoration takes as long as the result.",
        )
        self.field = TupleEdit(
            value=ONE_BLUR,
            options={"min": 1, "max": MOST_REGIONS},
            tooltip="Rows × columns of regions of the image that have a blur each, as behind many\n"
            "lenses. It is estimated in each region, smoothed over neighbouring regions, and\n"
            "interpolated between their middles. 1 × 1 is one blur for all.",
        )
        self.field.margins = (0, 0, 0, 0)
        self.of_optimisation: tuple[Widget, ...] = (self.schedule, self.channels, self.bounded)
        self.of_degradations: tuple[Widget, ...] = (self.mask, self.saturated, self.gain)

    def _make_inputs(self, layers: LayerList) -> None:
        self.mask = LayerChooser(
            layers,
            lambda layer: isinstance(layer, Labels | Shapes) and not is_result(layer),
            tooltip="Layer that marks pixels to ignore; they are filled in. Labels: nonzero\n"
            "pixels, in the size of the image. Shapes: what lies inside, and lines as wide as\n"
            "they are drawn. Values that are not finite are always ignored.",
        )
        self.saturated = CheckBox(
            text="Ignore saturated pixels",
            tooltip="Ignore pixels at the largest value of an integer type; they are filled in.",
        )
        self.gain = AutoNumber(
            1.0,
            low=0.0,
            high=100.0,
            step=0.05,
            tooltip="Brightness of the image relative to the result: 0.3 for a dark image that\n"
            "is to be brightened. Estimate takes its brightest pixels for white.",
        )
        self.noise = AutoNumber(
            0.0,
            low=0.0,
            high=1e6,
            step=1.0,
            zero="none",
            tooltip="Standard deviation of the noise, in the unit of the image: DDSR does not\n"
            "fit it, and the reconstruction removes it. Estimate takes it from the\n"
            "image, and so does none with the camera geometry.",
        )
        self.weights = path_field(
            FileDialogMode.EXISTING_FILE,
            types="*.pth",
            tooltip="File with the published weights of USRNet. Without one, the file in the\n"
            "environment variable NAPARI_BLINDSR_USRNET; without that, they are downloaded\n"
            "once.",
        )

    def offer_uncertainties(self, finish: Finish) -> None:
        """Offer the error map where the reconstruction has one."""
        if (finish == "prior") != self._has_map:
            self._has_map = finish == "prior"
            self.uncertainty.reset_choices()

    def _uncertainties(self, _: object) -> list[tuple[str, int]]:
        alone = [MAP_ALONE] if self._has_map else []
        return [NO_UNCERTAINTY, *alone, *((f"From {n} restorations", n) for n in RESTORATIONS)]

    def offer_finishes(self, method: Method) -> None:
        """Offer no reconstruction only to methods that have an image without one."""
        offered = tuple(name for name in FINISH_LABELS if method.optimises or name != "none")
        if offered != self._finishes:
            self._finishes = offered
            self.finish.reset_choices()
