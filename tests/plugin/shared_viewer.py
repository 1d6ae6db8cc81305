"""One viewer for many tests, each of which finds it as it was when it was new."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from app_model import Application
from napari import Viewer
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_viewer import QtViewer
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from napari.utils.events import EmitterGroup
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

APP = "napari-blindsr-tests"

CHANGING = {"layers", "cursor", "status", "help", "scene"}
"""What is emptied or put back by hand, or follows the pointer."""


class SharedViewer:
    """Makes a viewer where there is none, and a new one where a test has left its mark.

    To make one takes longer than most tests.
    """

    def __init__(self) -> None:
        self.viewer: Any = None
        self._state = ""
        self._labels: tuple[str, ...] = ()
        self._stack = ExitStack()
        self._docks: set[str] = set()
        self._callbacks: list[tuple[Any, tuple[Any, ...]]] = []

    def take(self) -> Any:
        """Return the viewer, which is empty."""
        if self.viewer is None:
            get_settings().reset()
            self._enter_app()
            self.viewer = Viewer(show=False, show_welcome_screen=False)
            # napari's own fixture, which other tests use, takes it for one that was left behind.
            QtViewer._instances.clear()
            self._state, self._labels = self._look(), self.viewer.dims.axis_labels
            self._docks = set(self.viewer.window._wrapped_dock_widgets)
            self._callbacks = [(emitter, emitter.callbacks) for emitter in self._emitters()]
        return self.viewer

    def give_back(self) -> None:
        """Remove what a test has put there; close the viewer if there is anything left of it."""
        if self.viewer is None:
            return
        if not hasattr(self.viewer.window, "_qt_window"):
            # The test has closed it.
            self.viewer = None
            self._stack.close()
            return
        try:
            self._tidy()
        except RuntimeError:
            # The test has deleted what Qt has of a dock.
            self.close()
            return
        if self._look() != self._state:
            self.close()
        # What is left is there to stay; napari looks through the rest whenever layers go.
        gc.freeze()

    def _tidy(self) -> None:
        self._remove_docks()
        self.viewer.layers.clear()
        for emitter, before in self._callbacks:
            for callback in [one for one in emitter.callbacks if one not in before]:
                emitter.disconnect(callback)
        self.viewer.dims.axis_labels = self._labels
        self.viewer.reset_view()

    def close(self) -> None:
        if self.viewer is not None:
            self.viewer.close()
            self.viewer = None
            self._stack.close()
            _delete()

    def _enter_app(self) -> None:
        """Let the viewer register its commands with an application of its own."""
        _forget_registrations()
        app = NapariApplication(APP)
        app.injection_store.namespace = _napari_names
        self._stack.enter_context(
            patch.object(NapariApplication, "get_app_model", return_value=app)
        )
        self._stack.callback(_forget_registrations)
        self._stack.callback(Application.destroy, APP)

    def _look(self) -> str:
        scene = self.viewer.scene.model_dump(exclude={"camera"})
        return str((self.viewer.model_dump(exclude=CHANGING), scene))

    def _emitters(self) -> Iterator[Any]:
        model = self.viewer
        parts = (model, model.layers, model.layers.selection, model.dims)
        for part in parts:
            assert isinstance(part.events, EmitterGroup)
            yield from part.events.emitters.values()

    def _remove_docks(self) -> None:
        docks = self.viewer.window._wrapped_dock_widgets
        for name in set(docks) - self._docks:
            dock = docks[name]
            inner = dock.inner_widget()
            self.viewer.window.remove_dock_widget(dock)
            native = getattr(inner, "native", inner)
            native.close()
            native.deleteLater()
        _delete()


def _forget_registrations() -> None:
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()


def _delete() -> None:
    """Have Qt delete now what is to be deleted."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()
