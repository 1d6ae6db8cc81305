"""The form of the dock "Measure quality": the image, its partners, and options."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, Label, SpinBox
from napari.components import LayerList

from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.measure.partners import (
    can_be_measured,
    find_kernel,
    find_source,
)
from napari_blindsr.plugin.widgets.fields import (
    NO_LABEL,
    LayerChooser,
    Rows,
    advanced_field,
    border_field,
    geometry_field,
    kernel_layer_field,
    narrow,
    number,
    side_by_side,
    text_line,
)
from napari_blindsr.types import CRITERIA

PARTNERS = ("reference", "source", "kernel", "true_kernel", "second", "second_source")
"""Layers that scores are computed from, in the order of `MetricInputs`."""
CRITERION_LABELS = {"one-seventh": "1/7", "half-bit": "half-bit", "three-sigma": "3 σ"}


class MeasureForm(Rows):
    """The fields of the dock "Measure quality"; those without effect are hidden."""

    def __init__(self, layers: LayerList) -> None:
        super().__init__()
        self._layers = layers
        self.pixel_size: float | None = None
        self._add_layers()
        self._add_options()
        for name in ("image", *PARTNERS, "advanced"):
            self.fields[name].changed.connect(self.show_what_matters)
        self.show_what_matters()

    def choose_partners(self) -> None:
        """Choose the source and the kernel that the metadata of the image name, or none."""
        layer = self.image.value
        for chooser in (self.source, self.kernel):
            # The image may change before the lists of layers do.
            chooser.reset_choices()
        self.source.value = None if layer is None else find_source(layer, self._layers)
        self.kernel.value = None if layer is None else find_kernel(layer, self._layers)

    def show_pixel_size(self, size: float | None) -> None:
        """Show the size of the image's pixel in nm; None if unknown."""
        self.pixel_size = size
        self.size.value = (
            "unknown: lengths are in pixels" if size is None else f"{size:.4g} nm at the specimen"
        )
        self.show_what_matters()

    def show_what_matters(self, *_: Any) -> None:
        """Show only the fields that have an effect."""
        there = {name: self.fields[name].value is not None for name in ("image", *PARTNERS)}
        repeated = there["second"] or (there["source"] and there["second_source"])
        # The metadata of a result say geometry and border of its run.
        known = there["image"] and "settings" in record_of(self.image.value)
        own = there["source"] and not known
        rings = there["source"] or there["second"]
        more = bool(self.advanced.value)
        self.fits_intensity.visible = there["reference"]
        shown = {
            "size": there["image"],
            "true_kernel": there["kernel"],
            "second_source": there["source"],
            "comparing": there["reference"] or repeated,
            "optics": there["image"] and self.pixel_size is not None,
            # Without metadata the geometry cannot be guessed, so it is no advanced setting.
            "geometry": own,
            "border": own and there["kernel"],
            "advanced": there["reference"] or rings,
            "crop": more and there["reference"],
            "criterion": more and rings,
        }
        for name, visible in shown.items():
            self.show(self.fields[name], visible=visible)

    def _add_layers(self) -> None:
        self._add_chooser(
            "image",
            "Image",
            "The image to score: 2-D grey or RGB, or the plane on display of a stack. Follows\n"
            "the selected layer, if that is a restored image, until another one is chosen.",
        )
        self.add(
            text_line(
                "Side of a pixel of the image, from the layer's scale and units.",
                name="size",
                label="Pixel size",
            )
        )
        self._add_chooser(
            "reference",
            "Ground truth",
            "The ground truth, if there is one, in the image's pixels. Gives PSNR, SSIM, NRMSE\n"
            "and MS-SSIM.",
        )
        self._add_chooser(
            "source",
            "Original",
            "The original image before restoration. Gives RSP and RSE with their error map, its\n"
            "resolution and, with a PSF, the residual.",
        )
        true_kernel = kernel_layer_field(self._layers, "true_kernel")
        true_kernel.label = "True PSF"
        true_kernel.tooltip = (
            "Layer of the true point spread function, such as that of a sample. Gives kernel\n"
            "PSNR and e_k."
        )
        self.add(kernel_layer_field(self._layers, "kernel"), true_kernel)
        self._add_chooser(
            "second",
            "Second image",
            "A second image of the same object with independent noise, in the image's pixels:\n"
            "another acquisition, or its restoration. Gives the Fourier ring correlation.",
        )
        self._add_chooser(
            "second_source",
            "Second original",
            "A second acquisition in the original's pixels. Gives the original's Fourier ring\n"
            "correlation.",
        )

    def _add_chooser(self, name: str, label: str, tooltip: str) -> None:
        self.add(
            LayerChooser(self._layers, can_be_measured, name=name, label=label, tooltip=tooltip)
        )

    def _add_options(self) -> None:
        self.numerical_aperture = _unknown_number(
            high=2,
            step=0.05,
            tooltip="Numerical aperture, for the diffraction limit.",
        )
        self.wavelength = _unknown_number(
            high=100_000,
            step=10,
            unit=" nm",
            tooltip="Wavelength of the emission, for the diffraction limit.",
        )
        self.registers = CheckBox(
            value=True,
            text="Align images",
            tooltip="Align images to a fraction of a pixel before they are compared.",
        )
        self.fits_intensity = CheckBox(
            text="Fit intensities",
            tooltip="Scale and shift the image's intensities to those of the ground truth, by\n"
            "least squares, before they are compared.",
        )
        crop = SpinBox(
            name="crop",
            label="Crop (px)",
            max=10_000,
            tooltip="Pixels left out at each border.",
        )
        criterion = ComboBox(
            name="criterion",
            label="FRC threshold",
            choices=[(CRITERION_LABELS[name], name) for name in CRITERIA],
            tooltip="Threshold of the Fourier ring correlation, below which detail is taken for\n"
            "noise.",
        )
        advanced = advanced_field()
        numbers = Label(value="NA"), self.numerical_aperture, Label(value="λ"), self.wavelength
        optics = side_by_side(*numbers, name="optics", label="Optics")
        comparing = side_by_side(
            self.registers, self.fits_intensity, name="comparing", label=NO_LABEL
        )
        self.add(geometry_field(), border_field(), optics, comparing, advanced, crop, criterion)


def _unknown_number(*, high: float, step: float, unit: str = "", tooltip: str) -> FloatSpinBox:
    field = number(0, low=0, high=high, step=step, zero="unknown", tooltip=tooltip)
    field.native.setSuffix(unit)
    narrow(field, width=60)
    return field
