"""Which layers the dock "Measure quality" takes, and what it makes of their metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.read import read_layer
from tests.plugin.conftest import make_result
from tests.plugin.measuring import (
    SCALE,
    SIDE,
    UM,
    add_layers,
    add_result,
    coarse_image,
    fine_image,
    measure,
    restored,
    value_of,
    values,
)


@pytest.mark.parametrize("kind", ["pyramid", "lazy", "rgb"])
def test_an_image_without_metadata(
    open_measure: Callable[[Any], Any], qtbot: QtBot, kind: str
) -> None:
    viewer: Any = ViewerModel()
    lazy: Any = dask.array
    fine, rgb = fine_image(), kind == "rgb"
    if rgb:
        fine = np.stack([fine, fine[::-1], fine.T], axis=-1).astype(np.uint8)
    coarse = coarse_image(fine).astype(fine.dtype)
    kinds: dict[str, Any] = {
        "pyramid": [fine, fine[::2, ::2]],
        "lazy": lazy.from_array(fine),
        "rgb": fine,
    }
    image = viewer.add_image(kinds[kind], name="other", rgb=rgb, multiscale=kind == "pyramid")
    source = viewer.add_image(coarse, name="cells", rgb=rgb, scale=(2, 2))
    widget = open_measure(viewer)
    form = widget.form
    # No result of ours, so nothing is chosen by itself.
    assert form.image.value is None
    form.image.value = image
    assert form.source.value is None
    assert form.size.value == "unknown: lengths are in pixels"
    assert not form.is_shown(form.geometry)
    form.source.value = source
    assert form.is_shown(form.geometry)
    form.geometry.value = "benchmark"
    assert widget.flags.isHidden()
    measure(qtbot, widget)
    expected = value_of("rse", image=fine, source=coarse, geometry="benchmark")
    assert values(widget)["rse"] == pytest.approx(expected)
    assert values(widget)["rse"] != value_of("rse", image=fine, source=coarse)
    assert set(image.metadata["napari-blindsr"]) == {"measurements", "measured_with"}
    # It has not become a result by that.
    form.image.value = source
    form.image.value = image
    assert form.source.value is None


def test_only_what_matters_is_shown(open_measure: Callable[[Any], Any], measured: Any) -> None:
    widget = open_measure(measured)
    form, plain = widget.form, measured.add_image(fine_image(3), name="truth")
    shown = form.is_shown
    # The metadata of the result tell them.
    assert not shown(form.geometry)
    assert not shown(form.border)
    assert shown(form.optics)
    assert not shown(form.comparing)
    form.reference.value = plain
    assert shown(form.comparing)
    assert not shown(form.crop)
    form.advanced.value = True
    assert shown(form.crop)
    assert shown(form.criterion)
    form.source.value = form.reference.value = None
    for field in (form.second_source, form.comparing, form.crop, form.criterion, form.advanced):
        assert not shown(field)
    assert shown(form.true_kernel)
    form.image.value = plain
    # Its pixels have no size, and the result's kernel is not its own.
    assert not shown(form.optics)
    assert form.kernel.value is None
    assert not shown(form.true_kernel)
    plain.scale, plain.units = (0.05, 0.05), ("um", "um")
    assert shown(form.optics)
    assert form.size.value == "50 nm at the specimen"


def test_the_selected_result_is_followed(open_measure: Callable[[Any], Any], measured: Any) -> None:
    widget = open_measure(measured)
    fine = fine_image(9)
    other = measured.add_image(coarse_image(fine), name="more", **UM)
    image, kernel = add_result(measured, other, fine)
    form = widget.form
    assert (form.image.value, form.source.value, form.kernel.value) == (image, other, kernel)
    measured.layers.selection.active = restored(measured)
    assert form.source.value == measured.layers["cells"]
    # Neither sources nor kernels are.
    measured.layers.selection.active = other
    assert form.image.value == restored(measured)
    measured.layers.remove("cells")
    assert form.source.value is None
    assert form.image.value == restored(measured)


def test_what_the_run_took_for_covered_is_left_out(
    open_measure: Callable[[Any], Any], measured: Any, qtbot: QtBot
) -> None:
    covered = np.zeros((SIDE, SIDE), dtype=bool)
    covered[20:28, 20:28] = True
    dirty = coarse_image(fine_image())
    dirty[covered] = 4000
    source = measured.add_image(dirty, name="dirty", **UM)
    labels = measured.add_labels(covered.astype(np.uint8), name="dust", **UM)
    image, _ = add_result(measured, source, fine_image(), mask=covered)
    widget = open_measure(measured)
    measure(qtbot, widget)
    assert image.metadata["napari-blindsr"]["measured_with"]["covered"] == covered.sum()
    expected = value_of("rse", image=image.data, source=dirty, covered=covered)
    assert values(widget)["rse"] == expected
    measured.layers.remove(labels.name)
    measure(qtbot, widget)
    assert "The mask 'dust' is gone or changed" in widget.status.value
    source.data = dirty + 1
    measure(qtbot, widget)
    assert "has changed since the result was restored from it" in widget.status.value


def test_a_result_of_a_region(
    open_measure: Callable[[Any], Any], measured: Any, qtbot: QtBot
) -> None:
    source = measured.layers["cells"]
    taken, box = read_layer(source, measured.dims), Box(top=6, left=2, bottom=42, right=46)
    image = fine_image()[box.scaled(SCALE).slices]
    result = make_result(scale=SCALE, shape=box.shape, values=image)
    add_layers(measured, replace(result, region=box), taken)
    widget = open_measure(measured)
    measure(qtbot, widget)
    layer = widget.add_map("error_map")
    assert layer.data.shape == box.shape
    np.testing.assert_allclose(layer.data_to_world((0, 0)), source.data_to_world((6, 2)))
