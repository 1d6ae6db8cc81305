"""One comparison: its modes, linked layers, and the viewer restored at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from napari.components import ViewerModel
from napari.experimental import layers_linked
from napari.layers import Image
from psygnal import Signal

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.plugin.compare.curtain import Curtain
from napari_blindsr.plugin.compare.difference import Difference
from napari_blindsr.plugin.compare.mode import Blink, Mode, ModeOptions, SideBySide, ViewerState
from napari_blindsr.plugin.compare.planes import plane_axes
from napari_blindsr.plugin.layers.read import find_plane, quoted

MODES: tuple[type[Mode], ...] = (SideBySide, Blink, Curtain, Difference)


def mode_named(name: str) -> type[Mode]:
    """Return the mode of a name."""
    return next(mode for mode in MODES if mode.name == name)


class Session:
    """Enters and leaves modes, and restores the viewer; `ended` is emitted with the reason."""

    changed = Signal()
    ended = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._state: ViewerState | None = None
        self._link: LookLink | None = None
        self.mode: Mode | None = None
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.ndisplay.connect(self._on_dims)
        viewer.dims.events.order.connect(self._on_dims)

    def start(
        self, kind: type[Mode], layers: Sequence[Image], options: ModeOptions, *, linked: bool
    ) -> None:
        """Show layers in a mode, in place of the one before.

        Raises a `BlindSRError`, and restores the viewer, if they cannot be shown so.
        """
        self._unlink()
        self._leave_mode()
        try:
            _check(kind, layers, self._viewer)
            if self._state is None:
                self._state = ViewerState.of(self._viewer)
            # Layers that the mode before has hidden may be shown in this one.
            self._state.restore_visible(self._viewer)
            self.mode = kind(self._viewer, layers, options)
            self.mode.enter()
        except BlindSRError:
            self.stop()
            raise
        self.mode.changed.connect(self.changed.emit)
        if linked:
            self._link = LookLink(layers)

    def stop(self) -> None:
        """End the comparison and restore the viewer."""
        self._unlink()
        self._leave_mode()
        if self._state is not None:
            self._state.restore(self._viewer)
        self._state = None

    def set_linked(self, *, linked: bool) -> None:
        """Link contrast, gamma and colormap of the layers in a mode, or unlink them."""
        if self.mode is not None and linked and self._link is None:
            self._link = LookLink(self.mode.layers)
        elif not linked:
            self._unlink()

    def text(self) -> str:
        """Return the descriptions of the mode and of the links."""
        if self.mode is None:
            return ""
        notes = [self.mode.text(), "" if self._link is None else self._link.note]
        return "\n".join(note for note in notes if note)

    def disconnect(self) -> None:
        """Disconnect from the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.dims.events.ndisplay.disconnect(self._on_dims)
        self._viewer.dims.events.order.disconnect(self._on_dims)

    def _leave_mode(self) -> None:
        mode, self.mode = self.mode, None
        if mode is not None:
            mode.changed.disconnect()
            mode.leave()

    def _unlink(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.undo()

    def _on_inserted(self, event: Any) -> None:
        if self._state is not None:
            self._state.visible[event.value] = event.value.visible

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if self.mode is not None and self.mode.uses(layer):
            self._end(f"The comparison has ended: {quoted(layer)} was removed.")

    def _on_dims(self, *_: Any) -> None:
        if self.mode is not None:
            self._end("The comparison has ended: the viewer shows other axes.")

    def _end(self, reason: str) -> None:
        self.stop()
        self.ended.emit(reason)


def _check(kind: type[Mode], layers: Sequence[Image], viewer: ViewerModel) -> None:
    if len(layers) < 2:
        chosen = ("no layer is", "1 layer is")[len(layers)]
        raise InputError(f"{chosen} chosen; choose two or more to compare")
    if kind.most is not None and len(layers) > kind.most:
        raise InputError(f"{len(layers)} layers are chosen; {kind.label} takes {kind.most}")
    plane_axes(viewer)
    for layer in layers:
        find_plane(layer, viewer.dims)


LOOKS = ("contrast_limits", "gamma", "colormap")
MOST_APART = 10
"""Largest ratio of two layers' contrast ranges for which one serves both."""


class LookLink:
    """Links contrast limits, gamma and colormap of layers until `undo`.

    Colormap and gamma are those of the first layer, contrast limits span those of all. RGB layers
    have none of these, and where ranges differ tenfold contrast limits stay apart: common ones
    would show a layer black. `attributes` are linked; `note` says which are not, and why.
    """

    def __init__(self, layers: Sequence[Image]) -> None:
        grey = [layer for layer in layers if not layer.rgb]
        notes = []
        if len(grey) < len(layers):
            names = ", ".join(quoted(layer) for layer in layers if layer.rgb)
            notes.append(f"RGB has no contrast limits or colormap to link: {names}.")
        attributes: tuple[str, ...] = LOOKS if len(grey) > 1 else ()
        if attributes and (why := _why_apart(grey)):
            attributes = ("gamma", "colormap")
            notes.append(why)
        self.attributes, self.note = attributes, " ".join(notes)
        self._before = {layer: _looks(layer) for layer in grey} if attributes else {}
        self._links = ExitStack()
        if attributes:
            looks: dict[str, Any] = {name: getattr(grey[0], name) for name in attributes}
            if "contrast_limits" in looks:
                # They span those of all, so that everything visible stays visible.
                lows, highs = zip(*(layer.contrast_limits for layer in grey), strict=True)
                looks["contrast_limits"] = (min(lows), max(highs))
            for layer in grey:
                for name, value in looks.items():
                    setattr(layer, name, value)
            # Links that were there before are not taken, and so stay afterwards.
            self._links.enter_context(layers_linked(grey, attributes))

    def undo(self) -> None:
        """Remove the links, and restore the looks of each layer."""
        self._links.close()
        for layer, looks in self._before.items():
            for name, value in looks.items():
                setattr(layer, name, value)
        self._before = {}


def _looks(layer: Image) -> dict[str, Any]:
    # The range of the slider goes last: limits may widen it.
    return {
        **{name: getattr(layer, name) for name in LOOKS},
        "contrast_limits_range": list(layer.contrast_limits_range),
    }


def _why_apart(layers: Sequence[Image]) -> str | None:
    low, high = layers[0].contrast_limits
    for layer in layers[1:]:
        other_low, other_high = layer.contrast_limits
        ratio = (other_high - other_low) / (high - low)
        overlap = min(high, other_high) > max(low, other_low)
        if not (overlap and 1 / MOST_APART <= ratio <= MOST_APART):
            return (
                f"Contrast limits are not linked: {quoted(layers[0])} shows {low:g} to {high:g}, "
                f"{quoted(layer)} {other_low:g} to {other_high:g}."
            )
    return None
