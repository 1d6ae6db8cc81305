"""Which options the dock shows, and what settings they make."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_blindsr.errors import SettingsError
from napari_blindsr.methods import METHOD_TABLE, Schedule
from napari_blindsr.physics.kernels import FAMILIES, Airy, Automatic, Disk, Gaussian, Line, Motion
from napari_blindsr.plugin.widgets.scroll import Scroll
from napari_blindsr.types import FINISHES
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker

PIXELS = np.zeros((9, 9), np.float32)


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_only_options_that_matter_for_the_method_are_shown(
    open_dock: DockMaker, method: Any
) -> None:
    _, widget = open_dock(PIXELS)
    shown = widget._form.is_shown
    widget.advanced.value = True
    widget.method.value = method.name
    for row in (widget.mask, widget.mask_saturated, widget.gain):
        assert shown(row) == method.degradations
    assert shown(widget.steps) == method.optimises
    for finish in widget.finish.choices:
        widget.finish.value = finish
        used = finish or method.finish
        assert shown(widget.weights) == (used == "usrnet")
        assert shown(widget.noise) == (method.degradations or used != "none")
        assert widget._form.settings().used_finish == used


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_every_finish_is_offered_where_it_makes_an_image(open_dock: DockMaker, method: Any) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    widget.method.value = method.name
    finishes = [name for name in FINISHES if method.optimises or name != "none"]
    assert widget.finish.choices[0] is None
    assert sorted(widget.finish.choices[1:]) == sorted(finishes)


def test_a_finish_that_does_not_suit_the_method_gives_way(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS, method="mlmc-usrnet")
    widget.finish.value = "none"
    assert widget._form.settings().used_finish == "none"
    widget.method.value, widget.advanced.value = "fast", True
    assert widget.finish.value is None
    assert widget._form.settings().used_finish == "prior"
    assert widget._form.is_shown(widget.noise)
    # One that suits both stays.
    widget.finish.value = "measurement"
    widget.method.value = "mlmc"
    assert widget._form.settings().used_finish == "measurement"
    widget.method.value = "fast"
    assert widget._form.settings().used_finish == "measurement"


def test_only_the_parameters_of_the_chosen_family_are_shown(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    shown = widget._form.is_shown
    widget.advanced.value = True
    for chosen in [*(family.name for family in FAMILIES), "known"]:
        widget.kernel.value = chosen
        assert shown(widget.kernel_layer) == (chosen == "known")
        for name, form in widget.families.items():
            assert [shown(field) for field in form.rows] == [name == chosen] * len(form.rows)


def test_every_parameter_of_a_family_can_be_set() -> None:
    from napari_blindsr.plugin.restore.kernel_forms import family_forms  # noqa: PLC0415

    forms = family_forms()
    assert list(forms) == [family.name for family in FAMILIES]
    for family in FAMILIES:
        # What is found out is not set.
        parameters = () if family is Automatic else dataclasses.fields(family)
        assert len(forms[family.name].rows) == len(parameters)
        assert all(field.tooltip for field in forms[family.name].rows)


def test_a_folder_of_kernels_takes_the_place_of_paths(open_dock: DockMaker, tmp_path: Path) -> None:
    _, widget = open_dock(PIXELS)
    widget.kernel.value, widget.advanced.value = "motion", True
    motion, shown = widget.families["motion"], widget._form.is_shown
    assert shown(motion.extent)
    motion.kernels.value = tmp_path
    assert motion.folder == tmp_path
    assert not shown(motion.extent)
    assert not shown(motion.persistence)
    motion.kernels.value = None
    assert motion.folder is None
    assert shown(motion.extent)


def test_parameters_make_the_family(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    forms = widget.families
    forms["gaussian"].sigma.value = (0.5, 2)
    forms["disk"].radius.value = (1, 3)
    forms["line"].half_length.value = (2, 2)
    forms["motion"].extent.value, forms["motion"].persistence.value = (1, 2), 0.5
    forms["airy"].numerical_aperture.value, forms["airy"].refractive_index.value = 1.3, 1.5
    forms["airy"].wavelength.value, forms["airy"].pixel_size.value = 600, 100
    forms["airy"].defocus.value = (0, 250)
    expected = [
        Gaussian(variance=(0.25, 4)),
        Disk(radius=(1, 3)),
        Line(half_length=(2, 2)),
        Motion(extent=(1, 2), persistence=0.5),
        Airy(
            numerical_aperture=1.3,
            refractive_index=1.5,
            wavelength=600,
            pixel_size=100,
            defocus=(0, 250),
        ),
    ]
    for family in expected:
        widget.kernel.value = family.name
        assert widget._form.settings().kernel == family
    forms["airy"].numerical_aperture.value = 1.6
    with pytest.raises(SettingsError, match="expected an aperture below the index"):
        widget._form.settings()
    widget.kernel.value = "disk"
    forms["disk"].radius.value = (3, 1)
    with pytest.raises(SettingsError, match="radius is 3 to 1"):
        widget._form.settings()


def test_automatic_ranges_are_shown_and_left_to_the_family(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    widget.kernel.value = "gaussian"
    sigma = widget.families["gaussian"].sigma
    widget.scale.value = 4
    assert sigma.value is None
    assert not sigma.low.enabled
    assert (sigma.low.value, sigma.high.value) == pytest.approx((1.92, 4.47), abs=0.01)
    # Taken over as a start.
    sigma.auto.value = False
    assert sigma.low.enabled
    assert sigma.value == pytest.approx((1.92, 4.47), abs=0.01)
    widget.scale.value = 2
    assert sigma.value == pytest.approx((1.92, 4.47), abs=0.01)
    sigma.value = None
    assert widget._form.settings().kernel == Gaussian()


def test_hidden_options_have_no_effect(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    widget.method.value = "ddsr-usrnet"
    widget.gain.value, widget.noise.value = 0.3, "auto"
    widget.mask_saturated.value = True
    widget.weights.value = "weights.pth"
    settings = widget._form.settings()
    assert (settings.gain, settings.noise, settings.mask_saturated) == (0.3, "auto", True)
    assert settings.usrnet_weights is not None
    widget.method.value = "mlmc"
    settings = widget._form.settings()
    assert (settings.gain, settings.noise, settings.mask_saturated) == (1, 0, False)
    assert settings.usrnet_weights is None
    widget.finish.value = "usrnet"
    assert widget._form.settings().noise == "auto"


def test_options_of_an_optimisation_have_no_effect_without_one(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    widget.steps.value, widget.channels.value = 77, 16
    widget.schedule.value, widget.bounded.value = "reference", True
    settings = widget._form.settings()
    assert (settings.schedule.image_steps, settings.schedule.channels) == (77, 16)
    assert (settings.schedule.recentre, settings.bounded) == (False, True)
    widget.method.value = "fast"
    settings = widget._form.settings()
    assert (settings.schedule, settings.bounded) == (Schedule(), None)
    # They are there again when they matter again.
    widget.method.value = "ddsr"
    assert widget._form.settings().schedule.image_steps == 77


def test_an_uncertainty_is_offered_where_nothing_is_optimised(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    shown = widget._form.is_shown
    widget.advanced.value = True
    assert shown(widget.uncertainty)
    assert widget._form.settings().uncertainty == 0
    widget.uncertainty.value = 1
    assert widget._form.settings().uncertainty == 1
    # Without the image prior there is no map of its errors.
    widget.finish.value = "measurement"
    assert widget.uncertainty.value != 1
    widget.uncertainty.value = 9
    assert widget._form.settings().uncertainty == 9
    widget.method.value = "mlmc"
    assert not shown(widget.uncertainty)
    assert widget._form.settings().uncertainty == 0
    widget.kernel.value, widget.finish.value = "known", "measurement"
    assert shown(widget.uncertainty)
    assert widget._form.settings().uncertainty == 9


def test_advanced_settings_make_the_settings(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    widget.method.value, widget.finish.value = "ddsr-usrnet", "none"
    widget.schedule.value, widget.bounded.value = "reference", False
    widget.precision.value, widget.channels.value = "float32", 32
    widget.gain.value = "auto"
    settings = widget._form.settings()
    assert (settings.used_finish, settings.bounded, settings.precision) == (
        *("none", False),
        "float32",
    )
    assert settings.gain == "auto"
    assert not settings.schedule.recentre
    assert settings.schedule.channels == 32
    widget.finish.value = widget.bounded.value = None
    assert widget._form.settings().used_finish == "usrnet"
    assert widget._form.settings().bounded is None


def test_steps_suit_the_kernel_until_they_are_changed(lend_viewer: Any) -> None:
    viewer = lend_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    widget.method.value = "mlmc"
    widget.kernel.value = "disk"
    assert widget._form.settings().schedule == Schedule.named("published", kernel="disk")
    widget.kernel.value = "gaussian"
    assert widget._form.settings().schedule == Schedule()
    widget.steps.value = 33
    widget.kernel.value = "disk"
    assert widget.steps.value == 33


def test_the_microscope_of_the_blur_type_is_the_one_that_was_chosen(open_dock: DockMaker) -> None:
    """Its numbers follow objective, fluorophore and layer, after Restore defaults as well."""
    viewer, widget = open_dock()
    viewer.add_image(np.eye(24), scale=(0.13, 0.13), units=("um", "um"))
    optics, airy = widget._form.optics, widget.families["airy"]
    assert "assumes" not in widget._form.size_row.value
    widget.kernel.value = "airy"
    assert "optics have no effect" not in widget._form.size_row.value
    sentence = "Microscope (Airy) assumes Aperture NA 0.8, Wavelength 520 nm: check them"
    assert sentence in widget._form.size_row.value
    optics.aperture.value = 1.2
    assert "optics have no effect" in widget._form.size_row.value
    assert "assumes Wavelength 520 nm: check them" in widget._form.size_row.value
    optics.emission.value = 610
    assert "optics have no effect" not in widget._form.size_row.value
    assert "assumes" not in widget._form.size_row.value
    chosen = Airy(numerical_aperture=1.2, wavelength=610, pixel_size=130, refractive_index=1.33)
    assert airy.kernel() == chosen
    airy.wavelength.value = 700
    widget._form.restore_defaults()
    assert airy.kernel() == chosen
    viewer.add_image(np.eye(24), scale=(0.2, 0.2), units=("um", "um"))
    assert airy.pixel_size.value == 200
    airy.wavelength.value = 700
    optics.emission.value = 520
    assert airy.wavelength.value == 700, "the user's own"


def test_the_pixel_size_is_that_of_the_layer(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS)
    size = widget.families["airy"].pixel_size
    assert size.value == Airy().pixel_size
    widget.kernel.value = "airy"
    assert "Pixel size 160 nm" in widget._form.size_row.value
    size.value = 170
    assert "Pixel size" not in widget._form.size_row.value
    size.value = Airy().pixel_size
    layer = viewer.layers[0]
    layer.scale = (0.2, 0.2)
    assert size.value == Airy().pixel_size
    layer.units = ("um", "um")
    assert size.value == 200
    layer.scale = (0.1, 0.1)
    assert size.value == 100
    # Pixels that are not square have no size.
    layer.scale = (0.1, 0.3)
    assert size.value == 100
    # What the user says holds.
    size.value = 70
    layer.scale = (0.3, 0.3)
    assert size.value == 70


def test_layers_are_offered_where_they_serve(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(PIXELS)
    labels = viewer.add_labels(np.zeros((9, 9), int), name="dust")
    shapes = viewer.add_shapes(name="holes")
    rgb = viewer.add_image(np.zeros((9, 9, 3)), rgb=True)
    assert widget.mask.value is None
    assert set(widget.mask.choices) == {None, labels, shapes}
    assert rgb not in widget.kernel_layer.choices
    widget.mask.value = labels
    labels.name = "renamed"
    viewer.layers.move(1, 0)
    assert widget.mask.value == labels
    viewer.layers.remove(labels)
    assert widget.mask.value is None


def test_a_kernel_of_our_own_is_suggested(open_dock: DockMaker) -> None:
    viewer, widget = open_dock()
    viewer.open_sample("napari-blindsr", "fluorescence")
    widget.kernel.value = "known"
    assert widget.kernel_layer.value == viewer.layers["fluorescence: PSF ×4"]
    assert widget._form.settings().kernel == "known"


def test_a_low_window_scrolls_the_form(make_napari_viewer: Any, qtbot: QtBot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros((32, 32)))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    scroll = widget.native.findChild(Scroll)
    bar = scroll.verticalScrollBar()
    widget.method.value, widget.kernel.value = "ddsr-usrnet", "airy"
    viewer.window.resize(1300, 900)
    # Three questions fit; all settings of such a method do not.
    qtbot.waitUntil(
        lambda: bar.maximum() == 0 and scroll.height() == scroll.sizeHint().height(),
        timeout=1000 * PATIENCE,
    )
    low = scroll.height()
    widget.advanced.value = True
    qtbot.waitUntil(lambda: scroll.height() > low + 100, timeout=1000 * PATIENCE)
    viewer.window.resize(1300, 600)
    qtbot.waitUntil(lambda: bar.maximum() > 0, timeout=1000 * PATIENCE)
    assert widget.run_button.native.isVisible()
    viewer.window.resize(1300, 900)
    widget.advanced.value = False
    qtbot.waitUntil(
        lambda: bar.maximum() == 0 and scroll.height() < low + 50, timeout=1000 * PATIENCE
    )


def test_the_wheel_does_not_change_what_it_passes_over(open_dock: DockMaker) -> None:
    _, widget = open_dock(PIXELS)
    field = widget.steps.native
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    before = widget.steps.value
    QApplication.sendEvent(field, event)
    assert widget.steps.value == before
