"""Fields that magicgui does not have, and the labelled rows of a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, Label
from magicgui.widgets.bases import CategoricalWidget, ValuedContainerWidget, Widget
from napari.components import LayerList
from napari.layers import Image, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QBoxLayout,
    QComboBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)

from napari_blindsr.types import BORDERS, GEOMETRIES


class Rows:
    """Labelled rows of a form that can be hidden; each field is an attribute by its name.

    magicgui sizes its labels for another font than napari's; Qt's own form does not.
    """

    def __init__(self, *fields: Widget) -> None:
        self.fields: dict[str, Any] = {}
        self.native = QWidget()
        self.layout = QFormLayout(self.native)
        self.layout.setContentsMargins(0, 0, 0, 0)
        self.layout.setVerticalSpacing(3)
        self.layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.layout.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.add(*fields)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def enabled(self) -> bool:
        """Whether the fields can be changed."""
        return bool(self.native.isEnabled())

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self.native.setEnabled(enabled)

    def add(self, *fields: Widget) -> None:
        """Append a row for each field, with its label."""
        for field in fields:
            self.fields[field.name] = field
            native: QWidget = field.native
            policy = native.sizePolicy()
            # Fields share the width of the dock; a long layer name shall not widen it.
            policy.setHorizontalPolicy(QSizePolicy.Policy.Expanding)
            native.setSizePolicy(policy)
            if isinstance(native, QComboBox):
                native.setSizeAdjustPolicy(
                    QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
                )
                native.setMinimumContentsLength(12)
            text = QLabel(field.label)
            text.setToolTip(native.toolTip())
            text.setBuddy(native)
            self.layout.addRow(text, native)

    def reset_choices(self) -> None:
        """Update the lists of layers; choices stay."""
        for field in self.fields.values():
            if isinstance(field, CategoricalWidget):
                field.reset_choices()

    def show(self, *fields: Widget, visible: bool) -> None:
        """Show or hide rows."""
        for field in fields:
            if self.is_shown(field) != visible:
                self.layout.setRowVisible(field.native, visible)

    def is_shown(self, field: Widget) -> bool:
        """Tell whether a row is shown when the form is."""
        return bool(self.layout.isRowVisible(field.native))


def heading_line(text: str) -> Label:
    """Return a heading between the rows of a form."""
    tooltip = f"Settings of the group {text.lower()}."
    return Label(name=text, label="", value=f"<b>{text}</b>", tooltip=tooltip)


class AutoNumber(ValuedContainerWidget[Any]):
    """A number between `low`, shown as `zero`, and `high`; or "auto"."""

    def __init__(
        self,
        value: float,
        *,
        low: float,
        high: float,
        step: float,
        zero: str = "",
        tooltip: str,
        **options: Any,
    ) -> None:
        self.number = number(value, low=low, high=high, step=step, zero=zero, tooltip=tooltip)
        self.auto = CheckBox(text="Estimate", tooltip=tooltip)
        widgets: list[Widget] = [self.number, self.auto]
        super().__init__(
            widgets=widgets, layout="horizontal", labels=False, tooltip=tooltip, **options
        )
        _spread(self)
        self.number.changed.connect(lambda _: self.changed.emit(self.value))
        self.auto.changed.connect(self._on_auto)

    def get_value(self) -> float | Literal["auto"]:
        """Return the number, or "auto"."""
        return "auto" if self.auto.value else float(self.number.value)

    def set_value(self, value: float | Literal["auto"]) -> None:
        """Set a number, or "auto"."""
        self.auto.value = value == "auto"
        if value != "auto":
            self.number.value = value

    def _on_auto(self, *_: Any) -> None:
        self.number.enabled = not self.auto.value
        self.changed.emit(self.value)


class Span(ValuedContainerWidget[Any]):
    """Two numbers, the smaller one first; or None for automatic, if it starts as None."""

    def __init__(
        self,
        value: tuple[float, float] | None,
        *,
        low: float = 0.0,
        high: float = 1000.0,
        step: float = 0.1,
        tooltip: str,
        **options: Any,
    ) -> None:
        first, last = value or (low, low)
        self.low = number(first, low=low, high=high, step=step, tooltip=tooltip)
        self.high = number(last, low=low, high=high, step=step, tooltip=tooltip)
        self.auto = CheckBox(text="auto", value=value is None, tooltip=tooltip)
        for field in (self.low, self.high):
            field.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            # napari's style has room for buttons.
            field.native.setStyleSheet("min-width: 44px; padding: 1px 4px;")
        widgets: list[Widget] = [self.low, Label(value="to"), self.high]
        super().__init__(
            widgets=[*widgets, self.auto] if value is None else widgets,
            layout="horizontal",
            labels=False,
            tooltip=tooltip,
            nullable=value is None,
            **options,
        )
        _spread(self)
        self.auto.changed.connect(self._on_auto)
        for field in (self.low, self.high):
            field.changed.connect(lambda _: self.changed.emit(self.value))
        self._on_auto()

    def get_value(self) -> tuple[float, float] | None:
        """Return both numbers, or None."""
        return None if self.auto.value else (float(self.low.value), float(self.high.value))

    def set_value(self, value: tuple[float, float] | None) -> None:
        """Set both numbers, or None."""
        self.auto.value = value is None
        if value is not None:
            self.low.value, self.high.value = value

    def show_usual(self, low: float, high: float) -> None:
        """Show the automatic values, if the value is None."""
        if self.auto.value:
            self.low.value, self.high.value = low, high

    def _on_auto(self, *_: Any) -> None:
        self.low.enabled = self.high.enabled = not self.auto.value
        self.changed.emit(self.value)


class OptionalChoice(ComboBox):
    """A choice whose first entry, with the text `none`, is None."""

    def __init__(self, *, none: str, choices: Any, **options: Any) -> None:
        self.null_string = none
        super().__init__(value=None, choices=choices, nullable=True, **options)


class LayerChooser(OptionalChoice):
    """A choice among the accepted layers of a viewer, None, and the entries `first`."""

    def __init__(
        self,
        layers: LayerList,
        accepts: Callable[[Layer], bool],
        *,
        none: str = "(none)",
        first: Sequence[tuple[str, Any]] = (),
        **options: Any,
    ) -> None:
        super().__init__(
            none=none,
            choices=lambda _: [
                *first,
                *[(layer.name, layer) for layer in reversed(layers) if accepts(layer)],
            ],
            **options,
        )

    def reset_choices(self, *_: Any) -> None:
        """Update the list; the chosen layer stays, also under another name."""
        before = self.value if len(self) else None
        super().reset_choices()
        if before in self.choices and self.value != before:
            self.value = before


def number(
    value: float, *, low: float, high: float, step: float, zero: str = "", **options: Any
) -> FloatSpinBox:
    """Return a field for a number, which shows `zero`, if given, in place of `low`."""
    field = FloatSpinBox(value=value, min=low, max=high, step=step, **options)
    field.native.setSpecialValueText(zero)
    return field


def path_field(mode: FileDialogMode, **options: Any) -> FileEdit:
    """Return a field for a file or folder, or None."""
    field = FileEdit(mode=mode, nullable=True, **options)
    field.choose_btn.text = "…"
    field.line_edit.native.setPlaceholderText("(none)")
    return field


def side_by_side(*widgets: Widget, **options: Any) -> Container[Widget]:
    """Return a row of widgets."""
    row = Container[Widget](widgets=widgets, layout="horizontal", labels=False, **options)
    row.margins = (0, 0, 0, 0)
    return row


def text_line(tooltip: str, **options: Any) -> Label:
    """Return a text in the width of the dock, with as many lines as it needs."""
    line = Label(value="", tooltip=tooltip, **options)
    native: QLabel = line.native
    # Texts carry the names of layers, which are no mark-up, and may be long.
    native.setTextFormat(Qt.TextFormat.PlainText)
    native.setWordWrap(True)
    policy = native.sizePolicy()
    policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
    policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
    native.setSizePolicy(policy)
    return line


def _spread(container: ValuedContainerWidget[Any]) -> None:
    """Let numbers share the remaining width."""
    container.margins = (0, 0, 0, 0)
    layout: QBoxLayout = container.native.layout()
    layout.setSpacing(4)
    for widget in container:
        if isinstance(widget, FloatSpinBox):
            layout.setStretchFactor(widget.native, 1)


def geometry_field() -> ComboBox:
    """Return a field for the alignment of coarse and fine pixels."""
    return ComboBox(
        name="geometry",
        label="Geometry",
        value=GEOMETRIES[0],
        choices=[(name.capitalize(), name) for name in GEOMETRIES],
        tooltip="Camera: a pixel covers whole pixels of the result, so the outer edges of both\n"
        "images coincide. Benchmark: the pixel positions of the published test data.",
    )


def border_field() -> ComboBox:
    """Return a field for the image beyond its borders."""
    return ComboBox(
        name="border",
        label="Border",
        value=BORDERS[0],
        choices=[(name.capitalize(), name) for name in BORDERS],
        tooltip="Extend: nothing is assumed about pixels outside of the image. Circular: the\n"
        "image continues at its opposite edge, as in the published test data.",
    )


def kernel_layer_field(layers: LayerList, name: str) -> LayerChooser:
    """Return a field for the layer of a known kernel."""
    return LayerChooser(
        layers,
        lambda layer: isinstance(layer, Image) and not layer.rgb,
        name=name,
        label="PSF layer",
        tooltip="Image layer of a square point spread function, in pixels of the result: of an\n"
        "earlier run or a sample, or measured, such as the image of a bead. Kernels of an image's\n"
        "regions are used each for its region.",
    )
