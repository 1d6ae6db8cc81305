"""Choosers that follow the selected layer, and callbacks on changes of the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer

from napari_blindsr.plugin.layers.outputs import is_result
from napari_blindsr.plugin.layers.versions import view_emitters

if TYPE_CHECKING:
    from magicgui.widgets.bases import CategoricalWidget
    from napari.components import ViewerModel


PLACING = ("data", "scale", "units", "translate", "rotate", "shear", "affine", "axis_labels")


class LayerFollower:
    """Keeps a chooser of image layers at the selected layer, if `follows` accepts that.

    Another choice of the user holds until that layer is removed or the selected one is chosen.
    """

    def __init__(
        self,
        chooser: CategoricalWidget[Image],
        viewer: ViewerModel,
        follows: Callable[[Layer | None], bool],
    ) -> None:
        self._chooser, self._viewer, self._follows = chooser, viewer, follows
        self._pinned: Layer | None = None
        self._busy = False
        viewer.layers.selection.events.active.connect(self._on_active)
        chooser.changed.connect(self._on_choice)

    def disconnect(self) -> None:
        """Disconnect."""
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._chooser.changed.disconnect(self._on_choice)

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Within this context changes of the list are not taken for a choice of the user."""
        before = self._chooser.value
        with self._own_change():
            yield
        choices = self._chooser.choices
        if self._pinned not in choices:
            self._pinned = None
        if self._pinned is None and self._follow(self._viewer.layers.selection.active):
            return
        # The chooser compares names, so it loses a renamed layer.
        if before in choices:
            self._set(before)
        elif choices and self._pinned is None:
            self._set(next(filter(self._follows, choices), choices[0]))

    def _on_active(self, event: Any) -> None:
        if self._pinned is None:
            self._follow(event.value)

    def _on_choice(self, layer: Image | None) -> None:
        if not self._busy:
            is_selected = layer is None or layer == self._viewer.layers.selection.active
            self._pinned = None if is_selected else layer

    def _follow(self, layer: Layer | None) -> bool:
        if not self._follows(layer):
            return False
        if layer not in self._chooser.choices:
            with self._own_change():
                self._chooser.reset_choices()
        if layer not in self._chooser.choices:
            return False
        self._set(layer)
        return True

    def _set(self, layer: Any) -> None:
        with self._own_change():
            if self._chooser.value != layer:
                self._chooser.value = layer

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before


class ChoiceWatcher:
    """Calls back when the choice changes, or when one of its `emitters` fires."""

    def __init__(
        self,
        chooser: CategoricalWidget[Any],
        emitters: Callable[[Any], Sequence[Any]],
        callback: Callable[..., None],
    ) -> None:
        self._chooser, self._emitters, self._callback = chooser, emitters, callback
        self._watched: Sequence[Any] = ()
        chooser.changed.connect(self._on_choice)
        self._watch(emitters(chooser.value))

    def disconnect(self) -> None:
        """Disconnect."""
        self._chooser.changed.disconnect(self._on_choice)
        self._watch(())

    def _on_choice(self, choice: Any) -> None:
        self._watch(self._emitters(choice))
        self._callback()

    def _watch(self, emitters: Sequence[Any]) -> None:
        for emitter in self._watched:
            emitter.disconnect(self._callback)
        self._watched = emitters
        for emitter in emitters:
            emitter.connect(self._callback)


def placing(layer: Layer | None) -> list[Any]:
    """Return the events of a layer that change its pixels or its place."""
    return [] if layer is None else [getattr(layer.events, name) for name in PLACING]


def region_changes(viewer: ViewerModel, choice: Any) -> list[Any]:
    """Return the events that change a region: Shapes, the visible field of view, or None."""
    if choice is None:
        return []
    return [choice.events.data] if isinstance(choice, Layer) else view_emitters(viewer)


def is_source(layer: Layer | None) -> bool:
    """Tell whether a layer is a visible image, but no result, so that a run can be repeated."""
    return isinstance(layer, Image) and layer.visible and not is_result(layer)
