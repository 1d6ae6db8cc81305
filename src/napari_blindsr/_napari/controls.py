"""The controls of the dock: their ranges and texts. What they do stands in restore.py."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    SpinBox,
    create_widget,
)
from magicgui.widgets.bases import CategoricalWidget, Widget
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QWidget

from napari_blindsr._napari.devices import DeviceReport, device_label, torch_build
from napari_blindsr._napari.worker import free_threads
from napari_blindsr.engine.kernels import FAMILIES
from napari_blindsr.settings import (
    METHOD_TABLE,
    SCALES,
    Border,
    Geometry,
    Schedule,
    Settings,
    kernel_family,
)


class RunForm(Container[Widget]):
    """What can be set for a run, a labelled row each."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.image_row = _image_row()
        self.scale_row = _scale_row()
        self.size_row = _text_line("Height × width in pixels, of the image and of the result.")
        self.method_row = _method_row()
        self.kernel_row = _kernel_row()
        self.steps_row = _steps_row()
        self.seed_row = _seed_row()
        self.device_row = _device_row()
        self.advanced = CheckBox(
            text="Advanced settings", tooltip="Show settings that seldom need a change."
        )
        self.geometry_row = _geometry_row()
        self.border_row = _border_row()
        # magicgui sizes its labels for another font than napari's; Qt's own form does not.
        self._rows = QFormLayout()
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self._rows.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.native.layout().addLayout(self._rows)
        self._add("Image", self.image_row)
        self._add("Scale", self.scale_row)
        self._add("Size", self.size_row)
        self._add("Method", self.method_row)
        self._add("Blur kernel", self.kernel_row)
        self._add("Steps", self.steps_row)
        self._add("Seed", self.seed_row)
        self._add("Device", self.device_row)
        self._rows.addRow("", self.advanced.native)
        self._add("Geometry", self.geometry_row)
        self._add("Border", self.border_row)
        self._show_advanced(visible=False)
        self.advanced.changed.connect(lambda shown: self._show_advanced(visible=shown))

    def reset_choices(self, *_: Any) -> None:
        """Bring the list of images up to date."""
        self.image_row.reset_choices()

    def _add(self, label: str, row: Widget) -> None:
        native: QWidget = row.native
        policy = native.sizePolicy()
        # Fields share the width of the dock; a long layer name shall not widen it.
        policy.setHorizontalPolicy(QSizePolicy.Policy.Expanding)
        native.setSizePolicy(policy)
        if isinstance(native, QComboBox):
            native.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            native.setMinimumContentsLength(12)
        text = QLabel(label)
        text.setToolTip(native.toolTip())
        text.setBuddy(native)
        self._rows.addRow(text, native)

    def settings(self) -> Settings:
        """Return what is set, checked.

        Raises
        ------
        SettingsError
        """
        return Settings(
            scale=self.scale_row.value,
            method=self.method_row.value,
            kernel=kernel_family(self.kernel_row.value),
            geometry=self.geometry_row.value,
            border=self.border_row.value,
            schedule=Schedule().scaled(self.steps_row.value),
            seed=self.seed_row.value,
            device=self.device_row.value,
            threads=free_threads(),
        )

    def show_devices(self, report: DeviceReport) -> None:
        """Offer the devices that were found."""
        found = [(device_label(name), name) for name in ("auto", *report.names)]
        # A function, because magicgui keeps it as the default; a list would not last.
        self.device_row.choices = lambda _: found

    def _show_advanced(self, *, visible: bool) -> None:
        for row in (self.geometry_row, self.border_row):
            self._rows.setRowVisible(row.native, visible)


class RunButtons(Container[Widget]):
    """Run, Stop and keep, Cancel."""

    def __init__(self) -> None:
        super().__init__(layout="horizontal", labels=False)
        self.margins = (0, 0, 0, 0)
        self.run = PushButton(
            text="Run",
            tooltip="Estimate the blur of the image and a finer image.\n"
            "The viewer stays usable meanwhile.",
        )
        self.stop = PushButton(
            text="Stop and keep",
            tooltip="End the run after the current step and keep the best result so far.",
        )
        self.cancel = PushButton(
            text="Cancel", tooltip="End the run after the current step and drop its result."
        )
        self.extend([self.run, self.stop, self.cancel])


class RunStatus(Container[Widget]):
    """How a run goes, what torch is there, and advice."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.bar = ProgressBar(
            value=0, min=0, max=1, tooltip="Image steps done, of those planned for the run."
        )
        self.message = _text_line("What the run is doing: step, loss of this step, time left.")
        self.torch = _text_line("The installed torch and the devices that it can use.")
        self.hint = _text_line("How to make runs faster on this machine.")
        self.hint.visible = False
        self.extend([self.bar, self.message, self.torch, self.hint])
        self.torch.value = f"{torch_build()} · looking for devices …"

    def show_devices(self, report: DeviceReport) -> None:
        """Say which devices were found, and what may be missing."""
        found = ", ".join(device_label(name) for name in report.names)
        self.torch.value = f"{torch_build()} · {found}"
        self.hint.value = report.hint
        self.hint.visible = bool(report.hint)


def _image_row() -> CategoricalWidget[Image]:
    row = create_widget(
        annotation=Image,
        name="image",
        options={
            "tooltip": "Image layer to restore: 2-D grey or RGB, or the plane on display of a "
            "stack.\nFollows the selected layer until another one is chosen here; choosing the\n"
            "selected layer makes it follow again."
        },
    )
    # napari registers its layer types as choices.
    assert isinstance(row, CategoricalWidget)
    return row


def _scale_row() -> CategoricalWidget[int]:
    return ComboBox(
        name="scale",
        value=4,
        choices=[(f"×{scale}" if scale > 1 else "×1 (sharper only)", scale) for scale in SCALES],
        tooltip="How many times finer the pixels of the result are, along each axis.\n"
        "×1 removes blur and keeps the pixels.",
    )


def _method_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="method",
        value=METHOD_TABLE[0].name,
        choices=[(method.label, method.name) for method in METHOD_TABLE],
        tooltip="MLMC and DDSR fit an image generator and a kernel generator to the image,\n"
        "in turn. USRNet then makes the image anew with the kernel that was found; it needs\n"
        "its published weights.",
    )


def _kernel_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="kernel",
        value=FAMILIES[0].name,
        choices=[(family.label, family.name) for family in FAMILIES],
        tooltip="The kind of blur to expect: the kernel generator learns from random\n"
        "kernels of this family.",
    )


def _steps_row() -> SpinBox:
    return SpinBox(
        name="steps",
        value=Schedule().image_steps,
        min=1,
        max=100_000,
        step=50,
        tooltip="Steps of the image generator; the phases of the schedule scale with it.\n"
        f"The published schedule has {Schedule().image_steps}. Fewer steps end sooner and "
        "restore less.",
    )


def _seed_row() -> SpinBox:
    return SpinBox(
        name="seed",
        value=0,
        min=0,
        max=2**31 - 1,
        step=1,
        tooltip="Of the random numbers. The same seed repeats a run; another one shows how\n"
        "much the result depends on chance.",
    )


def _device_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="device",
        value="auto",
        choices=[(device_label(name), name) for name in ("auto", "cpu")],
        tooltip="Where to compute. Automatic takes a GPU if torch can use one.",
    )


def _geometry_row() -> CategoricalWidget[Geometry]:
    return ComboBox(
        name="geometry",
        value="camera",
        choices=[("Camera", "camera"), ("Benchmark", "benchmark")],
        tooltip="Camera: a pixel covers whole pixels of the result, so the outer edges of both\n"
        "images coincide. Benchmark: the pixel positions of the published test data.",
    )


def _border_row() -> CategoricalWidget[Border]:
    return ComboBox(
        name="border",
        value="extend",
        choices=[("Extend", "extend"), ("Circular", "circular")],
        tooltip="Extend: nothing is assumed about what lies outside of the image.\n"
        "Circular: the image continues at its opposite edge, as in the published test data.",
    )


def _text_line(tooltip: str) -> Label:
    line = Label(value="", tooltip=tooltip)
    native: QLabel = line.native
    # Texts carry the names of layers, which are no mark-up, and may be long.
    native.setTextFormat(Qt.TextFormat.PlainText)
    native.setWordWrap(True)
    policy = native.sizePolicy()
    policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
    policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
    native.setSizePolicy(policy)
    return line
