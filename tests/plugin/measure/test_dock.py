"""The dock "Measure quality" in a real viewer: what it reads, shows, keeps and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

import napari_blindsr.metrics.measure as library
from napari_blindsr.errors import BlindSRError
from napari_blindsr.metrics import CURVES, MAPS, METRICS, MetricInputs
from tests.plugin.dock import click, edges
from tests.plugin.measuring import (
    SIDE,
    UM,
    add_result,
    coarse_image,
    filled,
    fine_image,
    measure,
    restored,
    value_of,
    values,
)


def add_all(viewer: Any, form: Any) -> dict[str, NDArray[Any]]:
    """Choose something for every chooser that is still free; return it."""
    fine = fine_image()
    place = {"scale": (0.1, 0.1), "units": ("um", "um")}
    arrays: dict[str, NDArray[Any]] = {
        "reference": np.clip(np.rint(fine), 0, 255).astype(np.uint8),
        "second": fine + np.random.default_rng(5).normal(0, 3, fine.shape),
        "second_source": coarse_image(fine, seed=7),
        "true_kernel": np.outer(*[np.exp(-((np.arange(11) - 5) ** 2) / 8)] * 2),
    }
    for name, array in arrays.items():
        layer = viewer.add_image(array, name=name, **(UM if name == "second_source" else place))
        getattr(form, name).value = layer
    return arrays


def test_all_is_measured_as_the_library_does(
    open_measure: Callable[[Any], Any],
    lend_viewer: Callable[[], Any],
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    viewer = filled(lend_viewer())
    widget = open_measure(viewer)
    form, result = widget.form, restored(viewer)
    assert form.image.value == result
    assert form.source.value == viewer.layers["cells"]
    assert form.kernel.value == viewer.layers["cells PSF ×2 (mlmc)"]
    assert form.size.value == "100 nm at the specimen"
    arrays = add_all(viewer, form)
    # Layers that came have not changed what is measured.
    assert form.image.value == result
    form.numerical_aperture.value, form.wavelength.value = 1.2, 520
    form.fits_intensity.value, form.crop.value = True, 3
    form.criterion.value = "half-bit"
    findings = measure(qtbot, widget)

    record = result.metadata["napari-blindsr"]
    own = np.array(
        viewer.layers["cells PSF ×2 (mlmc)"].metadata["napari-blindsr"]["correlation_kernel"]
    )
    true_kernel = arrays.pop("true_kernel")
    evidence = MetricInputs(
        image=result.data,
        source=viewer.layers["cells"].data,
        kernel=own.astype(np.float32),
        true_kernel=(true_kernel / true_kernel.sum()).astype(np.float32),
        pixel_size=100.0,
        numerical_aperture=1.2,
        wavelength=520,
        fits_intensity=True,
        crop=3,
        criterion="half-bit",
        **arrays,  # type: ignore[arg-type]
    )
    expected = library.measure(evidence)
    assert [found.metric for found in findings.measurements] == list(METRICS)
    for found, wanted in zip(findings.measurements, expected, strict=True):
        assert found.reason == wanted.reason
        for own_value, value in (
            (found.value, wanted.value),
            (found.physical, wanted.physical),
        ):
            assert own_value == (None if value is None else pytest.approx(value, rel=1e-6))
    check_table(widget.panel.table, expected)
    # What is kept is plain JSON, and nothing else of the record has changed.
    kept = json.loads(json.dumps(result.metadata["napari-blindsr"]))
    written = library.to_metadata(findings.measurements)
    assert kept["measurements"] == json.loads(json.dumps(written))
    assert kept["measured_with"]["layers"]["source"] == "cells"
    assert kept["measured_with"]["numerical_aperture"] == 1.2
    assert {name: kept[name] for name in record} == json.loads(json.dumps(record))
    widget.export(tmp_path / "quality.csv")
    saved = (tmp_path / "quality.csv").read_bytes().decode()
    assert saved == library.to_csv(findings.measurements)
    check_curves(widget.panel.curves)


def check_table(table: Any, expected: Any) -> None:
    assert table.rowCount() == len(expected)
    reasons = 0
    for row, found in enumerate(expected):
        assert table.item(row, 0).text() == found.metric.label
        for column in (0, 1):
            assert table.item(row, column).toolTip() == found.metric.tooltip
        text = table.item(row, 1).text()
        if found.value is None:
            reasons += 1
            assert text == f"– {found.reason}"
            assert table.columnSpan(row, 1) == 2
            # It breaks into lines, and does not push the last column out of sight.
            assert table.columnWidth(1) < 0.7 * table.fontMetrics().horizontalAdvance(text)
            assert table.rowHeight(row) > 2 * table.fontMetrics().height()
            continue
        assert text.startswith(f"{found.value:.4g} {found.metric.unit}".strip())
        physical = "" if found.physical is None else f"{found.physical:.4g} nm"
        assert table.item(row, 2).text() == physical
    # The images are too small for some.
    assert reasons >= 2


def check_curves(panel: Any) -> None:
    names = [panel.choice.itemText(index) for index in range(panel.choice.count())]
    assert names == [kind.label for kind in CURVES]
    seen = {}
    for kind in CURVES:
        curve = panel._shown[kind.label]
        panel.choice.setCurrentText(kind.label)
        if isinstance(curve, str):
            assert panel.plot is None or panel.plot.isHidden()
            assert panel.reason.text() == curve
            continue
        assert not panel.plot.isHidden()
        labels = [label.text for _, label in panel.plot.legend.items]
        assert labels == [line.label for line in curve.lines]
        axes = [panel.plot.plotItem.getAxis(side).labelText for side in ("bottom", "left")]
        assert axes == [curve.x_label, curve.y_label]
        drawn = panel.plot.plotItem.listDataItems()
        for item, line in zip(drawn, curve.lines, strict=True):
            np.testing.assert_array_equal(item.getData()[1], line.y)
        seen[kind.name] = curve
    assert {"frc", "decorrelation", "kernel_profile"} <= set(seen)
    assert "nm" in seen["kernel_profile"].x_label


def test_maps_lie_over_the_source(
    open_measure: Callable[[Any], Any], measured: Any, qtbot: QtBot
) -> None:
    widget = open_measure(measured)
    with pytest.raises(BlindSRError, match="no map"):
        widget.add_map("residual")
    findings = measure(qtbot, widget)
    assert list(widget.panel.map_buttons) == [kind.name for kind in MAPS]
    for found, button in zip(findings.maps, widget.panel.map_buttons.values(), strict=True):
        before = len(measured.layers)
        click_qt(button)
        layer = measured.layers[-1]
        assert layer.name == f"cells ×2 (mlmc): {found.kind.label}"
        np.testing.assert_array_equal(layer.data, found.map.values)
        np.testing.assert_allclose(edges(layer), edges(measured.layers["cells"]))
        assert layer.units == measured.layers["cells"].units
        # Once is enough.
        click_qt(button)
        assert len(measured.layers) == before + 1
    # Maps are no images to be measured, and do not take the place of the one that is.
    assert widget.form.image.value == restored(measured)
    assert measured.layers[-1] not in widget.form.image.choices


def click_qt(button: Any) -> None:
    assert button.isEnabled()
    button.click()


def test_maps_follow_turns_and_slices(
    open_measure: Callable[[Any], Any], lend_viewer: Callable[[], Any], qtbot: QtBot
) -> None:
    viewer = lend_viewer()
    fine = fine_image()
    stack = np.stack([coarse_image(fine, seed=seed) for seed in range(4)])
    turned: dict[str, Any] = {"scale": (3, 0.5, 0.5), "translate": (1, -4, 2), "rotate": (0, 0, 30)}
    source = viewer.add_image(stack, name="cells", **turned)
    viewer.dims.set_point(0, 7)
    result, _ = add_result(viewer, source, fine)
    widget = open_measure(viewer)
    measure(qtbot, widget)
    layer = widget.add_map("residual")
    assert layer.data.shape == (1, SIDE, SIDE)
    for pixel in ((0, 0), (SIDE - 1, 5)):
        np.testing.assert_allclose(
            layer.data_to_world((0, *pixel)), source.data_to_world((2, *pixel))
        )
    with_plane = result.metadata["napari-blindsr"]["measured_with"]
    assert with_plane["index"] == [0, None, None]
    assert values(widget)["rse"] == value_of("rse", image=fine, source=stack[2])
    # On another slice there is no result.
    viewer.dims.set_point(0, 1)
    click(widget.measure_button)
    assert "outside of layer" in widget.status.value


def test_flags_are_shown(open_measure: Callable[[Any], Any], measured: Any) -> None:
    widget = open_measure(measured)
    assert widget.flags.line.text() == "Treat this result with caution"
    text = widget.flags.details.text()
    for part in ("The image is &lt;sharp&gt;.", "No gain.", "Keep the image."):
        assert part in text
    image = restored(measured)
    image.metadata = {"napari-blindsr": {**image.metadata["napari-blindsr"], "flags": []}}
    widget.form.image.value = measured.layers["cells"]
    assert widget.flags.isHidden()
    widget.form.image.value = image
    assert widget.flags.line.text() == "No check failed"


def test_an_image_that_is_not_chosen_is_asked_for(
    open_measure: Callable[[Any], Any], lend_viewer: Callable[[], Any]
) -> None:
    viewer = lend_viewer()
    widget = open_measure(viewer)
    assert "open an image first" in widget.measure_button.tooltip
    viewer.add_image(coarse_image(fine_image()), name="other")
    assert not widget.measure_button.enabled
    assert widget.measure_button.tooltip == "Choose the image to score."
    widget.form.image.value = viewer.layers["other"]
    assert widget.measure_button.enabled
