"""Fields that magicgui does not have, and the labelled rows of a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib.metadata import metadata
from typing import Any, Literal

from magicgui.types import FileDialogMode
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    Label,
    PushButton,
    SpinBox,
)
from magicgui.widgets.bases import (
    ButtonWidget,
    CategoricalWidget,
    RangedWidget,
    ValuedContainerWidget,
    Widget,
)
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

LARGEST_SEED = 2**31 - 1


NO_LABEL = " "
"""Label of a field with a text of its own; magicgui would show its name instead of an empty one."""


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
            # A check box has its text beside it.
            text = QLabel("" if isinstance(field, ButtonWidget) else field.label.strip())
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


def caption(field: Widget) -> str:
    """Return what a field is called in a form; a check box has its text beside it."""
    return str(field.text if isinstance(field, ButtonWidget) else field.label).strip()


def heading_line(text: str) -> Label:
    """Return a heading between the rows of a form."""
    tooltip = f"Settings of the group {text.lower()}."
    return Label(name=text, label=NO_LABEL, value=f"<b>{text}</b>", tooltip=tooltip)


class Joined(ValuedContainerWidget[Any]):
    """Fields side by side that have one value; numbers share the remaining width."""

    def __init__(self, *widgets: Widget, **options: Any) -> None:
        super().__init__(widgets=widgets, layout="horizontal", labels=False, **options)
        self.margins = (0, 0, 0, 0)
        layout: QBoxLayout = self.native.layout()
        layout.setSpacing(4)
        for widget in widgets:
            if isinstance(widget, RangedWidget):
                layout.setStretchFactor(widget.native, 1)
            if isinstance(widget, RangedWidget | CheckBox):
                widget.changed.connect(lambda _: self.changed.emit(self.value))


class AutoNumber(Joined):
    """A number, or "auto"."""

    def __init__(self, value: float, *, name: str, label: str, tooltip: str, **bounds: Any) -> None:
        self.number = number(value, tooltip=tooltip, **bounds)
        self.auto = CheckBox(text="Estimate", tooltip=tooltip)
        super().__init__(self.number, self.auto, name=name, label=label, tooltip=tooltip)
        self.auto.changed.connect(self._on_auto)

    def get_value(self) -> float | Literal["auto"]:
        """Return the number, or "auto"."""
        return "auto" if self.auto.value else float(self.number.value)

    def set_value(self, value: float | Literal["auto"]) -> None:
        """Set a number, or "auto"."""
        self.auto.value = value == "auto"
        if value != "auto":
            self.number.value = value

    def _on_auto(self, auto: bool) -> None:
        self.number.enabled = not auto


class Span(Joined):
    """Two numbers, the smaller one first; or None for automatic, if it starts as None."""

    def __init__(
        self,
        value: tuple[float, float] | None,
        *,
        name: str,
        label: str,
        tooltip: str,
        **bounds: Any,
    ) -> None:
        first, last = value or (bounds["low"], bounds["low"])
        self.low = number(first, tooltip=tooltip, **bounds)
        self.high = number(last, tooltip=tooltip, **bounds)
        self.auto = CheckBox(text="auto", value=value is None, tooltip=tooltip)
        for field in (self.low, self.high):
            narrow(field, width=44)
        super().__init__(
            *(self.low, Label(value="to"), self.high),
            *((self.auto,) if value is None else ()),
            name=name,
            label=label,
            tooltip=tooltip,
            nullable=value is None,
        )
        self.auto.changed.connect(self._on_auto)
        self._on_auto(value is None)

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

    def _on_auto(self, auto: bool) -> None:
        self.low.enabled = self.high.enabled = not auto


class SeedField(Joined):
    """A seed of random numbers; the button `another` runs with another one, which the dock does."""

    def __init__(self, *, tooltip: str, **options: Any) -> None:
        self.number = SpinBox(value=0, min=0, max=LARGEST_SEED, step=1, tooltip=tooltip)
        self.another = PushButton(
            text="Another",
            tooltip="Run with the next seed: what differs between the results depends on chance.",
        )
        super().__init__(self.number, self.another, tooltip=tooltip, **options)

    def get_value(self) -> int:
        """Return the seed."""
        return int(self.number.value)

    def set_value(self, value: int) -> None:
        """Set the seed."""
        self.number.value = value

    def set_next(self) -> None:
        """Set another seed, the same after the same one."""
        self.value = (self.value + 1) % (LARGEST_SEED + 1)


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


def advanced_field() -> CheckBox:
    """Return the box that shows the settings that seldom matter."""
    return CheckBox(
        name="advanced",
        text="Advanced settings",
        tooltip="Show settings that seldom need a change.",
    )


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


PACKAGE = "napari-blindsr"


def about_line() -> QLabel:
    """Return a line with the version and, if the package names it, a link to its documentation."""
    package = metadata(PACKAGE)
    entries = package.get_all("Project-URL") or []
    addresses = dict(entry.split(", ", 1) for entry in entries)
    address = addresses.get("Documentation")
    text = escape(f"{PACKAGE} {package['Version']}")
    if address is not None:
        text += f' · <a href="{escape(address)}">Documentation</a>'
    line = QLabel(text)
    line.setTextFormat(Qt.TextFormat.RichText)
    line.setOpenExternalLinks(True)
    line.setToolTip("The installed version. Nothing is opened unless you click.")
    return line


def narrow(field: FloatSpinBox, *, width: int) -> None:
    """Take the buttons off a number, and give it a least width in pixels."""
    field.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    # napari's style has room for buttons.
    field.native.setStyleSheet(f"min-width: {width}px; padding: 1px 4px;")


def geometry_field() -> ComboBox:
    """Return a field for the alignment of coarse and fine pixels."""
    return ComboBox(
        name="geometry",
        label="Geometry",
        choices=[(name.capitalize(), name) for name in GEOMETRIES],
        tooltip="Camera: a pixel covers whole pixels of the result, so the outer edges of both\n"
        "images coincide. Benchmark: the pixel positions of the published test data.",
    )


def border_field() -> ComboBox:
    """Return a field for the image beyond its borders."""
    return ComboBox(
        name="border",
        label="Border",
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
