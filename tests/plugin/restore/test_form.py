"""The dock at rest: what it offers, and which image it means."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from magicgui.widgets.bases import Widget
from npe2 import PluginManifest

from napari_blindsr.methods import METHOD_TABLE, METHODS, Method, Schedule
from napari_blindsr.optics import Optics
from napari_blindsr.physics.kernels import FAMILIES
from napari_blindsr.plugin.widgets.devices import free_threads
from napari_blindsr.settings import Settings
from napari_blindsr.types import SCALES
from tests.plugin.conftest import DockMaker

PIXELS = np.zeros((9, 9), np.float32)
CONTROLS = [
    *("image", "scale", "method", "mask", "mask_saturated", "gain", "noise", "weights"),
    *("kernel", "kernel_layer", "steps", "seed", "device", "finish", "schedule", "channels"),
    *("geometry", "border", "bounded", "precision", "uncertainty", "lacking"),
    *("field", "advanced"),
    *("planes", "range", "sharing", "region", "dtype", "tiles", "folder"),
    *("run_button", "stop_button", "cancel_button", "progress", "status"),
]


def test_controls_are_attributes_with_tooltips(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    for name in CONTROLS:
        control = getattr(widget, name)
        assert isinstance(control, Widget)
        assert control.tooltip, name
    assert widget.scale.choices == SCALES
    assert widget.method.choices == METHODS
    assert widget.kernel.choices == (*(family.name for family in FAMILIES), "known")


def test_the_defaults_are_the_fast_method_and_the_published_schedule(
    lend_viewer: Any,
) -> None:
    viewer = lend_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    assert (widget.method.value, widget.method.current_choice) == ("fast", "Fast")
    assert widget._form.settings() == dataclasses.replace(Settings(scale=4), threads=free_threads())
    assert (widget.scale.value, widget.seed.value, widget.device.value) == (4, 0, "auto")
    widget.method.value = "mlmc"
    assert widget._form.settings().schedule == Schedule()


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_advanced_settings_are_hidden_until_asked_for(open_dock: DockMaker, method: Method) -> None:
    _, widget = open_dock(PIXELS, method=method.name)
    rows = widget._form
    advanced = [row for group in widget._form.groups.values() for row in group]
    # What is of the other kind of method stays hidden.
    fitted = (widget.schedule, widget.channels, widget.bounded, widget.steps)
    read = (widget.uncertainty, widget.field)
    idle, matter = (read, fitted) if method.optimises else (fitted, read)
    assert not any(map(rows.is_shown, advanced))
    # In the open there are three questions at most.
    assert rows.is_shown(widget.scale)
    assert rows.is_shown(widget.quality) == (not method.optimises)
    widget.advanced.value = True
    assert all(map(rows.is_shown, (*matter, widget.method, widget.kernel, widget.device)))
    assert not any(map(rows.is_shown, idle))
    widget.advanced.value = False
    assert not any(map(rows.is_shown, advanced))


def test_changed_settings_are_counted_and_defaults_come_back(
    lend_viewer: Any,
) -> None:
    viewer = lend_viewer()
    viewer.add_image(PIXELS)
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    before = widget._form.settings()
    assert widget.advanced.text == "Advanced settings"
    widget.method.value, widget.seed.value, widget.scale.value = "mlmc", 3, 2
    widget.kernel.value = "disk"
    widget.families["disk"].radius.value = (1, 2)
    assert widget.advanced.text.startswith("Advanced settings (")
    assert widget._form.settings() != before
    widget._form.defaults_button.native.click()
    assert widget._form.settings() == before
    assert widget.advanced.text == "Advanced settings"


def test_the_optics_of_a_micrograph_are_asked_for(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS, method="fast")
    optics, shown = widget._form.optics, widget._form.is_shown
    assert optics.kind.value == "other"
    assert not shown(optics.aperture)
    layer = viewer.layers[0]
    layer.scale, layer.units = (0.1, 0.1), ("um", "um")
    assert optics.kind.value == "fluorescence"
    assert all(shown(row) for row in optics.rows)
    assert optics.pixel_size.value == 100
    # What is not complete says nothing.
    optics.objective.value = 1.4
    assert optics.aperture.value == 1.4
    assert widget._form.settings().optics == Optics()
    optics.dye.value = 510.0
    entered = Optics(numerical_aperture=1.4, emission_nm=510, pixel_size_nm=100)
    assert widget._form.settings().optics == entered
    # What is chosen holds.
    optics.kind.value, optics.pixel_size.value = "electron", 80
    layer.scale = (0.2, 0.2)
    assert (optics.kind.value, optics.pixel_size.value) == ("electron", 80)
    assert widget._form.settings().optics == Optics()


def test_kind_and_pixel_size_follow_the_chosen_layer(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS, PIXELS, PIXELS, method="fast")
    for layer, size in zip(viewer.layers, (0.26, 0.065), strict=False):
        layer.scale, layer.units = (size, size), ("um", "um")
    optics = widget._form.optics
    wanted = (("fluorescence", 260), ("other", 0), ("fluorescence", 65), ("fluorescence", 260))
    for number, (kind, size) in zip((0, 2, 1, 0), wanted, strict=True):
        widget.image.value = viewer.layers[number]
        assert (optics.kind.value, optics.pixel_size.value) == (kind, size)
        widget.kernel.value = "airy"
        assert not size or widget.families["airy"].kernel().pixel_size == size


def test_quality_is_asked_for_only_where_it_makes_a_difference(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    widget.advanced.value = True
    for finish in widget.finish.choices:
        widget.finish.value = finish
        assert widget._form.is_shown(widget.quality) == (finish in (None, "prior"))


def test_the_controls_make_the_settings(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    widget.scale.value, widget.steps.value, widget.seed.value = 3, 250, 7
    widget.geometry.value, widget.border.value = "benchmark", "circular"
    settings = widget._form.settings()
    assert (settings.scale, settings.seed, settings.device) == (3, 7, "cpu")
    assert (settings.geometry, settings.border) == ("benchmark", "circular")
    assert settings.schedule == dataclasses.replace(Schedule().scaled(250), channels=32)
    for family in FAMILIES:
        widget.kernel.value = family.name
        assert widget._form.settings().kernel == family()


def test_the_image_follows_the_selected_layer(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS, PIXELS)
    first, second = viewer.layers
    assert widget.image.value == second
    viewer.layers.selection.active = first
    assert widget.image.value == first
    third = viewer.add_image(PIXELS, name="third")
    assert widget.image.value == third
    viewer.add_points(name="points")
    assert widget.image.value == third
    viewer.add_image(PIXELS, name="hidden", visible=False)
    assert widget.image.value == third
    viewer.layers.remove("third")
    assert widget.image.value in (first, second)


def test_a_choice_of_the_user_holds(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS, PIXELS)
    first, second = viewer.layers
    widget.image.value = first
    third = viewer.add_image(PIXELS, name="third")
    viewer.layers.selection.active = second
    assert widget.image.value == first
    first.name = "renamed"
    assert widget.image.value == first
    # Choosing the selected layer makes it follow again.
    widget.image.value = second
    viewer.layers.selection.active = third
    assert widget.image.value == third


def test_a_choice_ends_with_its_layer(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS, PIXELS)
    first, second = viewer.layers
    widget.image.value = first
    viewer.layers.remove(first)
    assert widget.image.value == second
    third = viewer.add_image(PIXELS, name="third")
    assert widget.image.value == third


def test_the_size_follows_image_and_scale(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(np.zeros((9, 12), np.float32))
    text = widget._form.size_row.value
    assert text.startswith("9 × 12 → 18 × 24 px · about ")
    # How long it takes follows if this session has restored something before.
    assert " free" in text
    widget.scale.value = 4
    assert widget._form.size_row.value.startswith("9 × 12 → 36 × 48 px")
    viewer.add_image(np.zeros((5, 6, 3), np.uint8), rgb=True)
    assert widget._form.size_row.value.startswith("5 × 6 → 20 × 24 px")


def test_the_manifest_names_what_exists() -> None:
    manifest = PluginManifest.from_distribution("napari-blindsr")
    manifest.validate_imports()
    assert manifest.categories == ["Image Processing"]
    assert [widget.display_name for widget in manifest.contributions.widgets or []] == [
        "Blind super-resolution",
        "Compare layers",
        "Measure quality",
        "Simulate degradation",
    ]
    docks = {"filter": ("restore", "simulate"), "visualize": ("compare",), "measure": ("measure",)}
    for name, commands in docks.items():
        menu = manifest.contributions.menus[f"napari/layers/{name}"]
        own = [f"napari-blindsr.{command}" for command in commands]
        assert [getattr(item, "command", None) for item in menu] == own


@pytest.mark.parametrize("key", ["fluorescence", "micrograph", "photograph"])
def test_opening_a_sample_makes_it_the_image(open_dock: DockMaker, key: str) -> None:
    viewer, widget = open_dock()
    viewer.open_sample("napari-blindsr", key)
    assert len(viewer.layers) == 3
    visible = [layer for layer in viewer.layers if layer.visible]
    assert [widget.image.value] == visible


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("Plugins/napari-blindsr", "Blind super-resolution"),
        ("Plugins/napari-blindsr", "Compare layers"),
        ("Layers/Filter", "Blind super-resolution"),
        ("Layers/Visualize", "Compare layers"),
        ("Layers/Measure", "Measure quality"),
    ],
)
def test_the_menus_open_the_docks(make_napari_viewer: Any, path: str, title: str) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(PIXELS)
    menu = viewer.window._qt_window.menuBar()
    for name in path.split("/"):
        menu = next(
            action.menu()
            for action in menu.actions()
            if action.menu() and action.text().replace("&", "") == name
        )
        menu.aboutToShow.emit()
    entry = next(a for a in menu.actions() if a.text().startswith(title))
    entry.trigger()
    (name,) = viewer.window.dock_widgets
    # The one that a script gets, too.
    dock, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", title)
    assert dock.name == name
    assert viewer.window.dock_widgets[name] is widget
