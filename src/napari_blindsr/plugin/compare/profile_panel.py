"""The line profile in the dock: the line, the curves, the widths, the export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, Container, PushButton
from magicgui.widgets.bases import Widget
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from napari.utils.notifications import show_error

from napari_blindsr.errors import BlindSRError, InputError, needs
from napari_blindsr.plugin.compare.profiles import Profiles, ProfileSet, add_line
from napari_blindsr.plugin.widgets.fields import LayerChooser, Rows, number, text_line
from napari_blindsr.plugin.widgets.save import ask_and_export, save_csv

if TYPE_CHECKING:
    from napari_blindsr.plugin.compare.profile_plot import PeakTable, ProfilePlot


class ProfilePanel(Container[Widget]):
    """Samples the chosen layers along a line, and shows the curves and their peaks' widths."""

    def __init__(self, viewer: ViewerModel, chosen: Callable[[], Sequence[Image]]) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self._viewer, self._chosen = viewer, chosen
        self._own: Shapes | None = None
        self._profiles: Profiles | None = None
        self.result: ProfileSet | None = None
        self.plot: ProfilePlot | None = None
        self.table: PeakTable | None = None
        self.draw = PushButton(
            text="Draw a line",
            tooltip="Add a line across the layers that you can move and turn; it is removed with\n"
            "the dock.",
        )
        # A button would show the label in place of its text.
        self.draw.label = "Profile"
        self.line = LayerChooser(
            viewer.layers,
            lambda layer: isinstance(layer, Shapes),
            label="Line",
            tooltip="Shapes layer with the line or path: the selected one of its shapes, or the\n"
            "last.",
        )
        self.line_width = number(
            0,
            label="Width",
            low=0,
            high=1e6,
            step=1,
            zero="none",
            tooltip="Width across the line over which intensities are averaged.",
        )
        self.scaled = CheckBox(
            text="Scale curves to 0 … 1",
            tooltip="Draw each curve from its least value to its greatest.",
        )
        self.export_button = PushButton(
            text="Export as CSV …", tooltip="Save the profiles and their fits.", enabled=False
        )
        self.message = text_line("Why there is no profile.")
        self.rows = Rows(self.draw, self.line, self.line_width, self.scaled)
        self.rows.show(self.line_width, self.scaled, visible=False)
        self.extend([self.message, self.export_button])
        self.native.layout().insertWidget(0, self.rows.native)
        self.message.visible = self.export_button.visible = False
        self.draw.changed.connect(self._draw)
        self.line.changed.connect(self.follow)
        self.line_width.changed.connect(self._on_width)
        self.scaled.changed.connect(self._plot)
        self.export_button.changed.connect(self._ask_and_export)

    def reset_choices(self, *_: Any) -> None:
        """Update the list of lines."""
        self.line.reset_choices()
        if self._own is not None and self._own not in self._viewer.layers:
            self._own = None

    def follow(self, *_: Any) -> None:
        """Plot the profiles of the chosen layers along the chosen line, and follow both."""
        self.disconnect()
        shapes, layers = self.line.value, list(self._chosen())
        if shapes is not None and layers:
            self._profiles = Profiles(
                self._viewer, layers, shapes, width=float(self.line_width.value)
            )
            self._profiles.changed.connect(self._on_profiles)
            self._profiles.update()
        else:
            trouble = "" if shapes is None else "Choose the layers to sample."
            self._on_profiles(InputError(trouble))

    def export(self, path: Path) -> None:
        """Save the profiles; raises a `BlindSRError` if there are none or that fails."""
        if self.result is None:
            raise InputError("there is no profile to save; draw a line first")
        save_csv(path, self.result.table())

    def end(self) -> None:
        """Disconnect, and remove the line that was added here."""
        self.line.changed.disconnect(self.follow)
        self.disconnect()
        own, self._own = self._own, None
        if own is not None and own in self._viewer.layers:
            self._viewer.layers.remove(own)

    def disconnect(self) -> None:
        """Follow nothing more."""
        profiles, self._profiles = self._profiles, None
        if profiles is not None:
            profiles.changed.disconnect()
            profiles.remove()

    def _draw(self) -> None:
        layers = list(self._chosen())
        if not layers:
            show_error("Choose the layers to sample first.")
            return
        try:
            self._own = add_line(self._viewer, layers)
        except BlindSRError as error:
            show_error(str(error))
            return
        self.line.reset_choices()
        self.line.value = self._own

    def _on_width(self) -> None:
        if self._profiles is not None:
            self._profiles.width = float(self.line_width.value)
            self._profiles.update()

    def _on_profiles(self, result: ProfileSet | BlindSRError) -> None:
        self.result = result if isinstance(result, ProfileSet) else None
        text = "" if isinstance(result, ProfileSet) else str(result)
        self.message.value, self.message.visible = text, bool(text)
        there = self.result is not None
        self.rows.show(self.line_width, self.scaled, visible=there)
        self.export_button.visible = self.export_button.enabled = there
        self._plot()

    def _plot(self) -> None:
        if self.result is not None and self.plot is None:
            self._make_plot()
        if self.plot is None or self.table is None:
            return
        self.plot.setVisible(self.result is not None)
        self.table.setVisible(self.result is not None)
        if self.result is not None:
            self.plot.show_profiles(self.result, scaled=bool(self.scaled.value))
            self.table.show_profiles(self.result)

    def _make_plot(self) -> None:
        # It takes a moment to import, which a dock that is merely shown shall not.
        try:
            from napari_blindsr.plugin.compare.profile_plot import (  # noqa: PLC0415
                PeakTable,
                ProfilePlot,
            )
        except ModuleNotFoundError:
            # The values can be exported without.
            self.message.value, self.message.visible = needs("A plot", "plots"), True
            return
        self.plot, self.table = ProfilePlot(), PeakTable()
        layout = self.native.layout()
        layout.insertWidget(1, self.plot)
        layout.insertWidget(2, self.table)

    def _ask_and_export(self) -> None:
        ask_and_export(self.native, "Export the profiles", "profiles.csv", self.export)
