"""The dock "Compare layers": layers side by side, in turn, cut by a curtain, or subtracted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtGui import QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel, QWidget

from napari_blindsr.errors import BlindSRError
from napari_blindsr.plugin.compare.curtain import Curtain
from napari_blindsr.plugin.compare.mode import ModeOptions
from napari_blindsr.plugin.compare.picker import LayerPicker, suggested
from napari_blindsr.plugin.compare.profile_panel import ProfilePanel
from napari_blindsr.plugin.compare.session import MODES, Session, mode_named
from napari_blindsr.plugin.layers.versions import on_renamed
from napari_blindsr.plugin.widgets.dock import Dock
from napari_blindsr.plugin.widgets.fields import Rows, number, text_line
from napari_blindsr.plugin.widgets.scroll import Scroll, column

if TYPE_CHECKING:
    import napari.viewer


OFF = "off"
NEXT = "Shift+F6"
HINT = "Tick two or more layers and choose how to show them."


class CompareWidget(Dock):
    """The dock "Compare layers".

    Attributes
    ----------
    picker : LayerPicker
    mode : ComboBox
        "off", or the name of one of `MODES`.
    rate : FloatSpinBox
        Of blink, in layers a second.
    edge : ComboBox
        How the curtain's edge runs: "upright" or "level".
    position : FloatSlider
        Of the curtain's first edge, from 0 to 1.
    linked : CheckBox
    status : Label
    profile : ProfilePanel
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        # napari hands plugins a proxy; links and selections take layers for what they are.
        super().__init__(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = Session(self._viewer)
        self.picker = LayerPicker(self._viewer.layers)
        self.mode = ComboBox(
            label="Mode",
            choices=[("Off", OFF), *((mode.label, mode.name) for mode in MODES)],
            tooltip="How the layers are shown. Off gives the viewer back as it was.\n"
            f"Key for the next mode: {NEXT}",
        )
        self.edge = ComboBox(
            label="Edge",
            choices=[("Upright, dragged sideways", "upright"), ("Level, dragged up", "level")],
            tooltip="How the curtain's edge runs.",
        )
        self.rate = number(
            2,
            label="Rate (1/s)",
            low=0.2,
            high=60,
            step=0.5,
            tooltip="Layers shown in a second.",
        )
        self.position = FloatSlider(
            label="Position",
            value=0.5,
            min=0,
            max=1,
            step=0.001,
            readout=False,
            tooltip="Where the edge is.",
        )
        self.linked = CheckBox(
            text="Link contrast, gamma and colormap",
            tooltip="While layers are compared, all have the colormap and gamma of the lowest one\n"
            "and contrast limits that span those of all, and change together. Afterwards each\n"
            "has its own again.",
        )
        self.status = text_line("What is on display.")
        self.profile = ProfilePanel(self._viewer, self.picker.chosen)
        self._lay_out()
        self._connect()
        self.picker.choose(suggested(self._viewer.layers))
        self._describe()

    def compare(self, layers: Iterable[Image], *, mode: str = "curtain") -> None:
        """Compare two or more layers of the viewer in one of `MODES`, or "off"."""
        with self.picker.changed.blocked(), self.mode.changed.blocked():
            self.picker.choose(getattr(layer, "__wrapped__", layer) for layer in layers)
            self.mode.value = mode
        self._apply()
        self.profile.follow()

    def reset_choices(self, *_: Any) -> None:
        """Update the lists of layers. napari calls this when layers come or go."""
        if self._gone:
            return
        self.picker.refresh()
        self.profile.reset_choices()

    def _lay_out(self) -> None:
        self.rows = Rows(self.mode, self.rate, self.edge, self.position, self.linked)
        heading, rest = QLabel("Layers to compare"), QWidget()
        widgets = (heading, self.picker, self.rows.native, self.status.native, self.profile.native)
        form = column(*widgets, rest)
        # napari adds a stretch of 1 below, which shall not take half of the room.
        self.native.layout().insertWidget(0, Scroll(form, grows=True), 50)

    def _connect(self) -> None:
        self.mode.changed.connect(self._apply)
        QShortcut(NEXT, self.native).activated.connect(self._show_next)
        self.picker.changed.connect(self._on_picked)
        for option in (self.rate, self.edge):
            option.changed.connect(self._on_option)
        self.position.changed.connect(self._on_position)
        self.linked.changed.connect(self._on_linked)
        self._session.changed.connect(self._describe)
        self._session.ended.connect(self._on_ended)
        layers = self._viewer.layers
        self._ends += [self._session.disconnect, self.profile.disconnect]
        self._ends.append(on_renamed(layers, self.reset_choices))
        self._listen([layers.events.reordered], self.reset_choices)

    # What the user does

    def _apply(self, *_: Any) -> None:
        """Show the chosen layers in the chosen mode."""
        if self._gone:
            return
        if self.mode.value == OFF:
            self._session.stop()
            self._describe()
            return
        try:
            self._session.start(
                mode_named(self.mode.value),
                self.picker.chosen(),
                self._options(),
                linked=bool(self.linked.value),
            )
        except BlindSRError as error:
            self._on_ended(str(error))
            show_error(str(error))
            return
        self._describe()

    def _show_next(self) -> None:
        """Go on to the next mode that takes so many layers."""
        count = len(self.picker.chosen())
        names = [mode.name for mode in MODES if mode.most is None or count <= mode.most]
        at = names.index(self.mode.value) if self.mode.value in names else -1
        self.mode.value = names[(at + 1) % len(names)]

    def _on_picked(self) -> None:
        if self._gone:
            return
        if self.mode.value != OFF:
            self._apply()
        self.profile.follow()

    def _on_option(self) -> None:
        if self._session.mode is not None:
            self._session.mode.set_options(self._options())
            self._describe()

    def _on_position(self, value: float) -> None:
        curtain = self._session.mode
        if isinstance(curtain, Curtain):
            curtain.fraction = value

    def _on_linked(self, linked: bool) -> None:
        self._session.set_linked(linked=linked)
        self._describe()

    def _options(self) -> ModeOptions:
        return ModeOptions(rate=float(self.rate.value), edge=self.edge.value)

    # What the dock says

    def _describe(self, *_: Any) -> None:
        mode = self._session.mode
        self.status.value = HINT if mode is None else self._session.text()
        if isinstance(mode, Curtain):
            with self.position.changed.blocked():
                self.position.value = mode.fraction
        curtain = isinstance(mode, Curtain)
        self.rows.show(self.rate, visible=mode is not None and mode.name == "blink")
        self.rows.show(self.edge, visible=curtain)
        # With several edges, each is dragged.
        one = mode is not None and len(mode.layers) == 2
        self.rows.show(self.position, visible=curtain and one)

    def _on_ended(self, reason: str) -> None:
        with self.mode.changed.blocked():
            self.mode.value = OFF
        self._describe()
        self.status.value = reason

    # How it ends

    def _on_closed(self) -> None:
        if not self._gone:
            self._on_destroyed()
            self._session.stop()
            self.profile.end()


def open_comparison(
    viewer: napari.viewer.Viewer, layers: Iterable[Image], *, mode: str = "curtain"
) -> CompareWidget:
    """Open the dock, if it is not open, and compare layers in it."""
    dock, widget = viewer.window.add_plugin_dock_widget(
        "napari-blindsr", "Compare layers", tabify=True
    )
    # It may be behind another one, or hidden.
    dock.show()
    dock.raise_()
    comparison: CompareWidget = widget
    comparison.compare(layers, mode=mode)
    return comparison
