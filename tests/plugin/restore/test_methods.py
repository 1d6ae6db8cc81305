"""Every method in a real viewer, with what it can be given: masks, kernels, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.methods import METHOD_TABLE, Method
from napari_blindsr.settings import Settings
from tests.helpers import reference_data
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import assert_free, click, edges, wait_idle

FITTED_AND_READ = ("mlmc", "fast")
DEGRADED = ("ddsr", "fast")

TURNED: dict[str, Any] = {"scale": (0.4, 0.4), "translate": (3, -2), "rotate": 30}


def assert_at_most_cautions(notifications: Notifications) -> None:
    """Nothing is wrong with a run, though its rough result may deserve flags."""
    assert all(kind == "warning" for kind, _ in notifications.shown)


def corners(layer: Any) -> NDArray[np.float64]:
    height, width = layer.data.shape[:2]
    points = [(i, j) for i in (-0.5, height - 0.5) for j in (-0.5, width - 0.5)]
    return np.array([layer.data_to_world(point) for point in points])


def run(qtbot: QtBot, widget: Any) -> None:
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)


def see_holes(widget: Any) -> None:
    """Take a narrow blur for granted: through a wide one, all of a small image is seen."""
    widget.families["gaussian"].sigma.value = (0.8, 1.6)


def record_of(layer: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json.dumps(layer.metadata["napari-blindsr"]))
    return record


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_every_method_runs(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    method: Method,
) -> None:
    if method.finish == "usrnet":
        monkeypatch.setenv("NAPARI_BLINDSR_USRNET", str(reference_data() / "usrnet_tiny.pth"))
    viewer, widget = open_dock(blurred, steps=3)
    widget.method.value = method.name
    run(qtbot, widget)
    assert_at_most_cautions(notifications)
    fine = viewer.layers[f"image 0 ×2 ({method.name})"]
    assert fine.data.shape == (48, 48)
    assert np.isfinite(fine.data).all()
    np.testing.assert_allclose(edges(fine), edges(viewer.layers[0]))
    kernel = viewer.layers[f"image 0 PSF ×2 ({method.name})"]
    assert kernel.data.sum() == pytest.approx(1, abs=1e-3)
    # Beside the image, level with its top.
    assert edges(kernel)[0, 1] > edges(fine)[1, 1]
    assert edges(kernel)[0, 0] == pytest.approx(edges(fine)[0, 0])
    np.testing.assert_allclose(kernel.scale, fine.scale)
    record = record_of(fine)
    assert (record["method"], record["finish"]) == (method.name, method.finish)
    assert viewer.layers.selection.active == fine
    # Nobody takes what a trained network made for what was fitted to this image alone.
    verdict = widget.verdict.verdict.text
    sentence = f"Neural networks used: {', '.join(record['learned_priors'])}."
    assert (sentence in verdict) == bool(record["learned_priors"])
    assert bool(record["learned_priors"]) == (
        method.finish in ("prior", "usrnet") or not method.optimises
    )
    assert ("steps" in widget.status.value) == method.optimises
    assert ("Estimated blur: FWHM" in verdict) == (not method.optimises)
    # Without covered pixels there is no mask.
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("method", FITTED_AND_READ)
def test_scale_1_removes_blur_alone(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    viewer, widget = open_dock(np.tile(blurred, (2, 2)), steps=3, method=method)
    widget.scale.value = 1
    assert widget._form.size_row.value.startswith("48 × 48 → 48 × 48 px")
    run(qtbot, widget)
    fine = viewer.layers[f"image 0 ×1 ({method})"]
    np.testing.assert_allclose(fine.extent.world, viewer.layers[0].extent.world)


@pytest.mark.parametrize("method", DEGRADED)
@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_what_a_mask_covers_is_filled_in_and_marked(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, kind: str, method: str
) -> None:
    image = blurred.copy()
    image[6:18, 8:20] = 1000
    viewer, widget = open_dock(image, steps=3, method=method)
    see_holes(widget)
    source = viewer.layers[0]
    for name, value in TURNED.items():
        setattr(source, name, value)
    if kind == "labels":
        mask = viewer.add_labels((image == 1000).astype(int), name="dust", **TURNED)
    else:
        mask = viewer.add_shapes(ndim=2, name="dust", scale=(2, 2), rotate=-70)
        box = [(5.5, 7.5), (5.5, 19.5), (17.5, 19.5), (17.5, 7.5)]
        mask.add_polygons([mask.world_to_data(source.data_to_world(point)) for point in box])
    widget.mask.value = mask
    run(qtbot, widget)

    assert [layer.name for layer in viewer.layers][1:] == [
        "dust",
        f"image 0 PSF ×2 ({method})",
        f"image 0 ×2 ({method})",
        "image 0 ×2 filled in",
    ]
    fine, filled = viewer.layers[f"image 0 ×2 ({method})"], viewer.layers["image 0 ×2 filled in"]
    assert viewer.layers.selection.active == fine
    np.testing.assert_allclose(corners(filled), corners(fine))
    np.testing.assert_allclose(filled.extent.world, fine.extent.world)
    np.testing.assert_allclose(corners(filled), corners(source))
    assert filled.units == fine.units
    # The middle of what was covered, but not what is seen from outside.
    assert filled.data[22:26, 26:30].all()
    assert not filled.data[:10].any()
    assert not filled.data[:, 42:].any()
    # What lies under the mask had no influence.
    assert fine.data.max() < 400

    record = record_of(fine)
    assert (record["source"]["mask"]["layer"], record["source"]["mask"]["kind"]) == ("dust", kind)
    assert record["source"]["mask"]["covered"] == 12 * 12
    assert record["covered"] == np.count_nonzero(filled.data)
    assert record_of(filled)["kind"] == "filled in"
    # A result is no mask, and the chooser still means its own.
    assert filled not in widget.mask.choices
    assert widget.mask.value == mask


@pytest.mark.parametrize("method", DEGRADED)
def test_pixels_that_are_not_finite_or_saturated_are_covered(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    holes = np.where(np.hypot(*np.mgrid[-12:12, -12:12]) < 7, np.nan, blurred)
    saturated = np.nan_to_num(holes, nan=255).astype(np.uint8)
    viewer, widget = open_dock(holes.astype(np.float32), saturated, steps=3, method=method)
    see_holes(widget)
    widget.mask_saturated.value = True
    # Of so few pixels any family may be read, and the kernel's shape counts here.
    widget.kernel.value = "gaussian"
    for image in list(viewer.layers):
        widget.image.value = image
        run(qtbot, widget)
        assert viewer.layers[f"{image.name} ×2 filled in"].data[22:26, 22:26].all()


@pytest.mark.parametrize("method", FITTED_AND_READ)
def test_where_data_are_lacking_is_shown_on_request(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    viewer, widget = open_dock(blurred, steps=3, method=method)
    see_holes(widget)
    viewer.layers[0].scale = (0.2, 0.3)
    widget.lacking.value = True
    run(qtbot, widget)
    lacking = viewer.layers["image 0 ×2 lacking data"]
    fine = viewer.layers[f"image 0 ×2 ({method})"]
    np.testing.assert_allclose(lacking.extent.world, fine.extent.world)
    assert not lacking.data[12:36, 12:36].any()
    assert viewer.layers.selection.active == fine
    assert record_of(lacking)["kind"] == "lacking data"


def test_the_uncertainty_is_a_layer_in_the_place_of_the_image(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    colour = np.stack([blurred, blurred + 5, blurred], axis=-1) / 300
    viewer, widget = open_dock(blurred, colour, method="fast")
    widget.finish.value, widget.uncertainty.value = "measurement", 5
    for image in list(viewer.layers):
        image.scale = (0.2, 0.3)
        widget.image.value = image
        run(qtbot, widget)
        layer = viewer.layers[f"{image.name} ×2 uncertainty"]
        fine = viewer.layers[f"{image.name} ×2 (fast)"]
        np.testing.assert_allclose(layer.extent.world, fine.extent.world)
        assert layer.data.shape == (48, 48)
        assert (layer.data >= 0).all()
        assert layer.contrast_limits[1] > 0
        assert record_of(layer)["kind"] == "uncertainty"
        assert record_of(layer)["settings"]["uncertainty"] == 5
        assert viewer.layers.selection.active == fine


@pytest.mark.parametrize("method", DEGRADED)
def test_estimates_of_gain_and_noise_are_shown(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    noisy = blurred + np.random.default_rng(0).normal(0, 6, blurred.shape)
    dark = (0.5 * noisy).clip(0, 255).astype(np.uint8)
    viewer, widget = open_dock(dark, steps=3, method=method)
    widget.gain.value, widget.noise.value = "auto", "auto"
    run(qtbot, widget)
    record = record_of(viewer.layers[-1])
    verdict = widget.verdict.verdict.text
    assert f"Estimated gain: {record['gain']:.3g}." in verdict
    assert f"Estimated noise: SD {record['noise']:.3g}." in verdict
    assert Settings.from_json(record["settings"]).noise == "auto"


@pytest.mark.parametrize("method", FITTED_AND_READ)
def test_a_known_kernel_is_held(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    viewer, widget = open_dock(blurred, steps=3, method=method)
    # A bead that is brighter on one side, centred where a camera's kernel is.
    row, column = np.mgrid[-5:6, -5:6]
    bead = np.exp(-((row + 0.5) ** 2 + (column + 0.5) ** 2) / 4) * (1 + 0.1 * (column > 0))
    layer = viewer.add_image(bead, name="bead")
    widget.image.value = viewer.layers[0]
    widget.kernel.value, widget.kernel_layer.value = "known", layer
    run(qtbot, widget)
    shown = viewer.layers[f"image 0 PSF ×2 ({method})"]
    kernel = np.array(record_of(shown)["correlation_kernel"])
    # As given, but for the flip, a common factor, and the move to its centre.
    given = bead[::-1, ::-1] / bead.sum()
    side = (len(kernel) - len(given)) // 2
    np.testing.assert_allclose(kernel[side : side + 11, side : side + 11], given, atol=2e-3)
    record = record_of(viewer.layers[-1])
    # No blur was read, and no network read it.
    assert record["blur"] is None
    assert record["learned_priors"] == ([] if method == "mlmc" else ["image prior"])
    assert record["settings"]["kernel"] == "known"
    assert record["source"]["known_kernel"]["layer"] == "bead"
    held = np.array(record["source"]["known_kernel"]["correlation_kernel"])
    np.testing.assert_allclose(held, given, rtol=1e-5)

    # The kernel of a run serves another one, as it is.
    widget.kernel_layer.value = shown
    widget.seed.value = 1
    run(qtbot, widget)
    again = np.array(record_of(viewer.layers[-2])["correlation_kernel"])
    side = (len(again) - len(kernel)) // 2
    np.testing.assert_allclose(again[side:, side:][: len(kernel), : len(kernel)], kernel, atol=1e-3)


@pytest.mark.parametrize("method", FITTED_AND_READ)
def test_kernels_of_a_folder_are_drawn_from(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, tmp_path: Path, method: str
) -> None:
    np.save(tmp_path / "shake.npy", np.eye(5))
    viewer, widget = open_dock(blurred, steps=2, method=method)
    widget.kernel.value = "motion"
    widget.families["motion"].kernels.value = tmp_path
    run(qtbot, widget)
    record = record_of(viewer.layers[-1])
    assert Settings.from_json(record["settings"]).to_json() == record["settings"]
    assert record["settings"]["kernel"]["kernels"]["shape"] == [1, 5, 5]


@pytest.mark.parametrize("method", FITTED_AND_READ)
def test_a_microscope_is_fitted(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    viewer, widget = open_dock(blurred, steps=2, method=method)
    viewer.layers[0].scale, viewer.layers[0].units = (0.3, 0.3), ("um", "um")
    widget.kernel.value = "airy"
    run(qtbot, widget)
    assert record_of(viewer.layers[-1])["settings"]["kernel"]["pixel_size"] == 300


@pytest.mark.parametrize("finish", ["prior", "usrnet", "measurement"])
def test_every_finish_of_a_blur_that_was_read(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    finish: str,
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    widget.finish.value = finish
    if finish == "usrnet":
        widget.weights.value = reference_data() / "usrnet_tiny.pth"
    run(qtbot, widget)
    assert_at_most_cautions(notifications)
    record = record_of(viewer.layers["image 0 ×2 (fast)"])
    assert record["finish"] == finish
    names = {"prior": ["image prior"], "usrnet": ["USRNet"], "measurement": []}
    assert record["learned_priors"] == ["kernel estimator", *names[finish]]
    assert widget.progress.value == widget.progress.max


def test_a_blur_is_shown_with_its_intervals_in_pixels_of_the_image(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    run(qtbot, widget)
    blur = record_of(viewer.layers[-1])["blur"]
    # FWHM in pixels of the image.
    first, second = (1.17741 * width for width in blur["widths"])
    ends = [1.17741 * end for pair in blur["intervals"] for end in pair]
    sentence = f"FWHM {first:.1f} × {second:.1f} px (90 %: {min(ends):.1f}–{max(ends):.1f})"
    assert sentence in widget.verdict.verdict.text
