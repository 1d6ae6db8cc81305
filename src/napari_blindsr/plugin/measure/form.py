"""What is measured, by what: the upper part of the dock."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, Label, SpinBox
from magicgui.widgets.bases import Widget
from napari.components import LayerList
from qtpy.QtWidgets import QAbstractSpinBox, QWidget

from napari_blindsr.plugin.measure.partners import (
    can_be_measured,
    find_kernel,
    find_source,
    record_of,
)
from napari_blindsr.plugin.widgets.fields import (
    LayerChooser,
    Rows,
    border_field,
    geometry_field,
    kernel_layer_field,
    number,
    text_line,
)
from napari_blindsr.types import CRITERIA

PARTNERS = ("reference", "source", "kernel", "true_kernel", "second", "second_source")
"""Layers that an image is measured by, in the order of `MetricInputs`."""
CRITERION_LABELS = {"one-seventh": "1/7", "half-bit": "half-bit", "three-sigma": "3 σ"}


class MeasureForm:
    """The fields of the dock "Measure quality"; those that do not matter are hidden.

    Parameters
    ----------
    layers : LayerList
        The viewer's.

    Attributes
    ----------
    image, reference, source, kernel, true_kernel, second, second_source : LayerChooser
        Layers, or None.
    numerical_aperture, wavelength : FloatSpinBox
        The wavelength in nm; 0 if unknown.
    registers, fits_intensity, advanced : CheckBox
        The last one shows what follows.
    crop : SpinBox
    criterion, geometry, border : ComboBox
    size : Label
        What is known of the size of a pixel.
    native : QWidget
    """

    def __init__(self, layers: LayerList) -> None:
        self._layers = layers
        self.pixel_size: float | None = None
        self._make_choosers()
        self._make_options()
        self.rows = Rows()
        for label, row in self._labelled():
            self.rows.add(label, row)
        self.native = QWidget()
        self.rows.layout.setContentsMargins(0, 0, 0, 0)
        self.native.setLayout(self.rows.layout)
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
        """Whether the result's metadata tell the geometry and the border of its run."""
        layer = self.image.value
        return layer is not None and "settings" in record_of(layer)

    def reset_choices(self) -> None:
        """Bring the lists of layers up to date; what is chosen stays."""
        for name in PARTNERS:
            getattr(self, name).reset_choices()

    def choose_partners(self) -> None:
        """Choose the source and the kernel that the image's metadata tell of, or none."""
        layer = self.image.value
        for chooser in (self.source, self.kernel):
            # The image may be told of before the lists of layers are.
            chooser.reset_choices()
        self.source.value = None if layer is None else find_source(layer, self._layers)
        self.kernel.value = None if layer is None else find_kernel(layer, self._layers)

    def show_pixel_size(self, size: float | None) -> None:
        """Say how large a pixel of the image is, in nm; None if that is not known."""
        self.pixel_size = size
        self.size.value = (
            "unknown: lengths are in pixels" if size is None else f"{size:.4g} nm at the specimen"
        )
        self.show_what_matters()

    def show_what_matters(self, *_: Any) -> None:
        """Hide what has no bearing on what is chosen."""
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
        # What the metadata of a result do not tell cannot be guessed, so it is not tucked away.
        show([self.geometry], visible=own)
        show([self.border], visible=own and there["kernel"])
        rings = there["source"] or there["second"]
        more = bool(self.advanced.value)
        show([self.advanced], visible=there["reference"] or rings)
        show([self.crop], visible=more and there["reference"])
        show([self.criterion], visible=more and rings)

    def _make_choosers(self) -> None:
        self.image = self._chooser(
            "What is measured: 2-D grey or RGB, or the plane on display of a stack. Follows the\n"
            "selected layer to images that were restored here, until another one is chosen.",
        )
        self.reference = self._chooser(
            "The truth, if there is one, with the image's pixels: PSNR, SSIM, NRMSE, MS-SSIM.",
        )
        self.source = self._chooser(
            "What the image was made from: its error map (RSP and RSE), the resolution before\n"
            "and, with a kernel, what of the data is not explained.",
        )
        self.kernel = kernel_layer_field(self._layers)
        self.true_kernel = kernel_layer_field(self._layers)
        self.true_kernel.tooltip = (
            "A layer of the true point spread function, such as that of a sample: kernel PSNR\n"
            "and e_k."
        )
        self.second = self._chooser(
            "Another image of the same thing with independent noise and the image's pixels:\n"
            "a second acquisition, or what was restored from one. Fourier ring correlation.",
        )
        self.second_source = self._chooser(
            "A second acquisition with the source's pixels: the source's Fourier ring correlation.",
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
            tooltip="Of the emission, for the diffraction limit.",
        )
        self.registers = CheckBox(
            value=True,
            text="Register",
            tooltip="Move images to where their partner lies, to a fraction of a pixel, before\n"
            "they are compared.",
        )
        self.fits_intensity = CheckBox(
            text="Fit intensities",
            tooltip="Bring the image to the reference by a factor and an offset, by least\n"
            "squares, before they are compared.",
        )
        self.crop = SpinBox(
            value=0, min=0, max=10_000, tooltip="Pixels left out at each border beside a reference."
        )
        self.criterion = ComboBox(
            value=CRITERIA[0],
            choices=[(CRITERION_LABELS[name], name) for name in CRITERIA],
            tooltip="Threshold of Fourier ring correlation: what counts as agreement.",
        )
        self.geometry, self.border = geometry_field(), border_field()
        self.advanced = CheckBox(
            text="Advanced settings", tooltip="Show settings that seldom need a change."
        )
        self.optics = _side_by_side(
            Label(value="NA"), self.numerical_aperture, Label(value="λ"), self.wavelength
        )
        self.comparing = _side_by_side(self.registers, self.fits_intensity)

    def _labelled(self) -> list[tuple[str, Widget]]:
        return [
            ("Image", self.image),
            ("Pixel", self.size),
            ("Reference", self.reference),
            ("Source", self.source),
            ("Kernel", self.kernel),
            ("True kernel", self.true_kernel),
            ("Second image", self.second),
            ("Second source", self.second_source),
            ("Geometry", self.geometry),
            ("Border", self.border),
            ("Optics", self.optics),
            ("", self.comparing),
            ("", self.advanced),
            ("Crop (px)", self.crop),
            ("FRC threshold", self.criterion),
        ]


def _unknown_number(*, high: float, step: float, unit: str = "", tooltip: str) -> FloatSpinBox:
    field = number(0, low=0, high=high, step=step, tooltip=tooltip)
    field.native.setSpecialValueText("unknown")
    field.native.setSuffix(unit)
    field.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    # napari's style has room for buttons.
    field.native.setStyleSheet("min-width: 60px; padding: 1px 4px;")
    return field


def _side_by_side(*widgets: Widget) -> Container[Widget]:
    row = Container[Widget](widgets=widgets, layout="horizontal", labels=False)
    row.margins = (0, 0, 0, 0)
    return row
