"""Modes, links and suggestions on viewers without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.experimental import link_layers
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_blindsr.errors import EngineError, InputError
from napari_blindsr.plugin.compare.mode import ModeOptions
from napari_blindsr.plugin.compare.picker import suggested
from napari_blindsr.plugin.compare.session import LookLink, Session, mode_named
from tests.helpers import PATIENCE

pytestmark = pytest.mark.usefixtures("qapp")


def make(ndim: int = 2) -> tuple[ViewerModel, Session, Image, Image]:
    """Return a viewer with a coarse and a fine image of the same place, and a session."""
    viewer = ViewerModel()
    lead = (3,) * (ndim - 2)
    ones, zeros = (1.0,) * (ndim - 2), (0.0,) * (ndim - 2)
    low = viewer.add_image(np.full((*lead, 16, 16), 100.0), name="LR", scale=(*ones, 2, 2))
    high = viewer.add_image(
        np.full((*lead, 64, 64), 130.0),
        name="HR",
        scale=(*ones, 0.5, 0.5),
        translate=(*zeros, -0.75, -0.75),
    )
    return viewer, Session(viewer), low, high


def start(session: Session, name: str, *layers: Image, linked: bool = False, **options: Any) -> Any:
    session.start(mode_named(name), layers, ModeOptions(**options), linked=linked)
    return session.mode


def test_blink_shows_one_after_the_other(qtbot: QtBot) -> None:
    _, session, low, high = make()
    blink = start(session, "blink", low, high, rate=50)
    names: list[str] = []
    for _ in range(4):
        (layer,) = [layer for layer in (low, high) if layer.visible]
        assert layer.name in session.text()
        names.append(layer.name)
        with qtbot.waitSignal(session.changed, timeout=1000 * PATIENCE):
            pass
    assert names == ["LR", "HR", "LR", "HR"]
    session.stop()
    shown = blink.shown
    qtbot.wait(60)
    assert blink.shown == shown
    assert low.visible
    assert high.visible


def test_side_by_side_shows_the_same_region() -> None:
    viewer, session, low, high = make()
    viewer.add_points([[4, 4]])
    viewer.reset_view()
    zoom = viewer.scene.camera.zoom
    start(session, "side by side", low, high)
    grid = viewer.canvas.grid
    assert tuple(grid.actual_shape(viewer.layers)) == (1, 2)
    cells = [viewer.layers[i].name for _, ids in grid.iter_viewboxes(viewer.layers) for i in ids]
    assert cells == ["LR", "HR"]
    # Nothing that was in sight has gone out of it.
    assert viewer.scene.camera.zoom == pytest.approx(zoom / 2)
    # What one zooms meanwhile holds.
    viewer.scene.camera.zoom *= 3
    session.stop()
    assert viewer.scene.camera.zoom == pytest.approx(3 * zoom)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_difference(ndim: int, qtbot: QtBot) -> None:
    viewer, session, low, high = make(ndim)
    if ndim == 3:
        high.data[2] += 7
        viewer.dims.set_point(0, 1)
    layer = start(session, "difference", low, high).layer
    assert layer.name == "HR − LR"
    assert layer.data.shape[-2:] == (64, 64)
    np.testing.assert_allclose(layer.data, 30)
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]
    np.testing.assert_allclose(layer.extent.world[:, -2:], high.extent.world[:, -2:])
    if ndim == 3:
        viewer.dims.set_point(0, 2)
        qtbot.waitUntil(lambda: bool((layer.data == 37).all()), timeout=1000 * PATIENCE)
        np.testing.assert_allclose(layer.extent.world[:, 0], 2)
    else:
        low.data = np.full((16, 16), 90.0)
        qtbot.waitUntil(lambda: bool((layer.data == 40).all()), timeout=1000 * PATIENCE)
    session.stop()
    assert list(viewer.layers) == [low, high]


@pytest.mark.parametrize("finer", [0, 1])
def test_the_difference_of_turned_layers(finer: int) -> None:
    viewer = ViewerModel()
    row, column = np.mgrid[:20, :20].astype(float)
    images = []
    for number in range(2):
        size, turn = (1.0, 30) if number == finer else (2.0, 50)
        layer = viewer.add_image(row, scale=(size, size), rotate=turn, translate=(3, 4))
        # The same ramp of the world in both, whatever their pixels are.
        points = np.stack([row, column], axis=-1).reshape(-1, 2)
        world = np.array([layer.data_to_world(point) for point in points])
        layer.data = (world @ [2.0, 1.0]).reshape(20, 20) + 5 * number
        images.append(layer)
    shown = start(Session(viewer), "difference", *images).layer
    inside = np.isfinite(shown.data)
    assert inside.sum() > 100
    # Between an edge and the outermost centres the nearest pixel stands in.
    assert np.median(np.abs(shown.data[inside] - 5)) < 1e-4
    np.testing.assert_allclose(shown.data_to_world((7, 3)), images[finer].data_to_world((7, 3)))


def test_removing_the_difference_ends_it() -> None:
    viewer, session, low, high = make()
    reasons: list[str] = []
    session.ended.connect(reasons.append)
    start(session, "difference", low, high)
    viewer.layers.remove("HR − LR")
    assert session.mode is None
    assert len(reasons) == 1
    assert low.visible
    assert high.visible


def test_three_dimensions_end_it() -> None:
    viewer, session, low, high = make(3)
    start(session, "blink", low, high)
    viewer.dims.ndisplay = 3
    assert session.mode is None
    assert low.visible
    assert high.visible
    with pytest.raises(InputError, match="three dimensions"):
        start(session, "blink", low, high)


def test_a_viewer_without_a_window_has_no_curtain() -> None:
    _, session, low, high = make()
    high.visible = False
    with pytest.raises(EngineError, match="Blink and side by side"):
        start(session, "curtain", low, high)
    assert (low.visible, high.visible) == (True, False)


def test_rgb_and_grey_are_not_subtracted() -> None:
    viewer, session, low, _ = make()
    colour = viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True, name="colour")
    with pytest.raises(InputError, match="layer 'colour' is RGB and layer 'LR' is grey"):
        start(session, "difference", low, colour)
    # But they can be shown together, and it is said why they are not linked.
    start(session, "blink", low, colour, linked=True)
    assert "RGB has no contrast limits or colormap to link: layer 'colour'." in session.text()


def test_links() -> None:
    _, session, low, high = make()
    low.contrast_limits, high.contrast_limits = (0, 150), (50, 200)
    low.colormap = "magma"
    start(session, "side by side", low, high)
    assert high.colormap.name == "gray"
    session.set_linked(linked=True)
    assert high.colormap.name == "magma"
    assert tuple(low.contrast_limits) == tuple(high.contrast_limits) == (0, 200)
    high.gamma = 0.6
    assert low.gamma == 0.6
    low.opacity = 0.5
    assert high.opacity == 1
    session.set_linked(linked=False)
    assert (low.gamma, high.gamma, high.colormap.name) == (1, 1, "gray")
    assert tuple(high.contrast_limits) == (50, 200)


def test_what_was_linked_before_stays_linked() -> None:
    _, _, low, high = make()
    link_layers([low, high], ("gamma",))
    LookLink([low, high]).undo()
    low.gamma = 0.4
    assert high.gamma == 0.4
    low.colormap = "red"
    assert high.colormap.name == "gray"


def test_limits_of_another_order_are_not_linked() -> None:
    _, _, low, _ = make()
    unit = Image(np.linspace(0, 1, 256).reshape(16, 16), name="unit")
    low.contrast_limits = (0, 4000)
    link = LookLink([low, unit])
    assert link.attributes == ("gamma", "colormap")
    assert "limits are not linked: layer 'LR' shows 0 to 4000, layer 'unit' 0 to 1" in link.note
    assert tuple(unit.contrast_limits) == (0, 1)
    unit.gamma = 0.5
    assert low.gamma == 0.5


def test_what_is_suggested() -> None:
    viewer, _, low, high = make()
    beside = viewer.add_image(np.ones((8, 8)), translate=(0, 40))
    viewer.layers.selection.active = high
    assert suggested(viewer.layers) == [low, high]
    viewer.layers.selection = [low, beside]
    assert suggested(viewer.layers) == [low, beside]
