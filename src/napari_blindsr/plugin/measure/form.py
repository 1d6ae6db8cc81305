"""The form of the dock "Measure quality": the image, its partners, and options."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, Label, SpinBox
from magicgui.widgets.bases import Widget
from napari.components import LayerList
from qtpy.QtWidgets import QAbstractSpinBox

from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.plugin.measure.partners import (
    can_be_measured,
    find_kernel,
    find_source,
)
from napari_blindsr.plugin.widgets.fields import (
    LayerChooser,
    Rows,
    border_field,
    geometry_field,
    kernel_layer_field,
    number,
    side_by_side,
    text_line,
)
from napari_blindsr.types import CRITERIA

PARTNERS = ("reference", "source", "kernel", "true_kernel", "second", "second_source")
"""Layers that scores are computed from, in the order of `Evidence`."""
CRITERION_LABELS = {"one-seventh": "1/7", "half-bit": "half-bit", "three-sigma": "3 σ"}


class MeasureForm:
    """The fields of the dock "Measure quality"; those without effect are hidden."""

    def __init__(self, layers: LayerList) -> None:
        self._layers = layers
        self.pixel_size: float | None = None
        self._make_choosers()
        self._make_options()
        self.rows = Rows()
        for label, row in self._labelled():
            self.rows.add(label, row)
        self.native = self.rows.native
        for field in (*self.choosers, self.advanced):
            field.changed.connect(self.show_what_matters)
        self.show_what_matters()

    @property
    def enabled(self) -> bool:
        """Whether the fields can be changed."""
        return bool(self.native.isEnabled())

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self.native.setEnabled(enabled)

    @property
    def knows_geometry(self) -> bool:
        """Whether the metadata of the image say geometry and border of its run."""
        layer = self.image.value
        return layer is not None and "settings" in record_of(layer)

    def reset_choices(self) -> None:
        """Update the lists of layers; choices stay."""
        for name in PARTNERS:
            getattr(self, name).reset_choices()

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
        there = {name: getattr(self, name).value is not None for name in ("image", *PARTNERS)}
        repeated = there["second"] or (there["source"] and there["second_source"])
        own = there["source"] and not self.knows_geometry
        show = self.rows.show
        show([self.size], visible=there["image"])
        show([self.true_kernel], visible=there["kernel"])
        show([self.second_source], visible=there["source"])
        self.fits_intensity.visible = there["reference"]
        show([self.comparing], visible=there["reference"] or repeated)
        show([self.optics], visible=there["image"] and self.pixel_size is not None)
        # Without metadata the geometry cannot be guessed, so it is no advanced setting.
        show([self.geometry], visible=own)
        show([self.border], visible=own and there["kernel"])
        rings = there["source"] or there["second"]
        more = bool(self.advanced.value)
        show([self.advanced], visible=there["reference"] or rings)
        show([self.crop], visible=more and there["reference"])
        show([self.criterion], visible=more and rings)

    def _make_choosers(self) -> None:
        self.image = self._chooser(
            "The image to score: 2-D grey or RGB, or the plane on display of a stack. Follows\n"
            "the selected layer, if that is a restored image, until another one is chosen.",
        )
        self.reference = self._chooser(
            "The ground truth, if there is one, in the image's pixels. Gives PSNR, SSIM, NRMSE\n"
            "and MS-SSIM.",
        )
        self.source = self._chooser(
            "The original image before restoration. Gives RSP and RSE with their error map, its\n"
            "resolution and, with a PSF, the residual.",
        )
        self.kernel = kernel_layer_field(self._layers)
        self.true_kernel = kernel_layer_field(self._layers)
        self.true_kernel.tooltip = (
            "Layer of the true point spread function, such as that of a sample. Gives kernel\n"
            "PSNR and e_k."
        )
        self.second = self._chooser(
            "A second image of the same object with independent noise, in the image's pixels:\n"
            "another acquisition, or its restoration. Gives the Fourier ring correlation.",
        )
        self.second_source = self._chooser(
            "A second acquisition in the original's pixels. Gives the original's Fourier ring\n"
            "correlation.",
        )
        self.choosers = [self.image, *(getattr(self, name) for name in PARTNERS)]

    def _chooser(self, tooltip: str) -> LayerChooser:
        return LayerChooser(self._layers, can_be_measured, tooltip=tooltip)

    def _make_options(self) -> None:
        self.size = text_line("Side of a pixel of the image, from the layer's scale and units.")
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
        self.crop = SpinBox(value=0, min=0, max=10_000, tooltip="Pixels left out at each border.")
        self.criterion = ComboBox(
            value=CRITERIA[0],
            choices=[(CRITERION_LABELS[name], name) for name in CRITERIA],
            tooltip="Threshold of the Fourier ring correlation, below which detail is taken for\n"
            "noise.",
        )
        self.geometry, self.border = geometry_field(), border_field()
        self.advanced = CheckBox(
            text="Advanced settings", tooltip="Show settings that seldom need a change."
        )
        self.optics = side_by_side(
            Label(value="NA"), self.numerical_aperture, Label(value="λ"), self.wavelength
        )
        self.comparing = side_by_side(self.registers, self.fits_intensity)

    def _labelled(self) -> list[tuple[str, Widget]]:
        return [
            ("Image", self.image),
            ("Pixel size", self.size),
            ("Ground truth", self.reference),
            ("Original", self.source),
            ("PSF layer", self.kernel),
            ("True PSF", self.true_kernel),
            ("Second image", self.second),
            ("Second original", self.second_source),
            ("Geometry", self.geometry),
            ("Border", self.border),
            ("Optics", self.optics),
            ("", self.comparing),
            ("", self.advanced),
            ("Crop (px)", self.crop),
            ("FRC threshold", self.criterion),
        ]


def _unknown_number(*, high: float, step: float, unit: str = "", tooltip: str) -> FloatSpinBox:
    field = number(0, low=0, high=high, step=step, zero="unknown", tooltip=tooltip)
    field.native.setSuffix(unit)
    field.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    # napari's style has room for buttons.
    field.native.setStyleSheet("min-width: 60px; padding: 1px 4px;")
    return field
