"""The lists: every metric, plot and map through the same calls."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_blindsr.errors import InputError
from napari_blindsr.evaluation.samples import photograph
from napari_blindsr.metrics import CURVES, MAPS, METRICS, Metric, MetricInputs
from napari_blindsr.metrics.measure import maps, measure, plots, to_csv, to_metadata
from napari_blindsr.physics.simulate import gaussian_kernel
from napari_blindsr.restoration.diagnostics import FLAGS


@pytest.fixture(scope="module")
def everything() -> MetricInputs:
    """Return evidence that allows every metric: a picture, blurred, and its truth."""
    sample = photograph()
    image = gaussian_filter(sample.truth.astype(float), 3)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 8, (2, *image.shape))
    # A source that is sampled finely enough for its halves.
    coarse = gaussian_filter(sample.image.astype(float), 2)
    sources = coarse + rng.normal(0, 2, (2, *coarse.shape))
    return MetricInputs(
        image=image + noise[0],
        reference=sample.truth,
        source=sources[0],
        kernel=sample.kernel,
        true_kernel=sample.kernel,
        second=image + noise[1],
        second_source=sources[1],
        pixel_size=120.0,
        numerical_aperture=0.8,
        wavelength=520.0,
    )


def test_names_are_distinct_and_texts_are_there() -> None:
    for entries in (METRICS, CURVES, MAPS):
        names = [entry.name for entry in entries]
        assert len({*names}) == len(names)
        assert all(name.isidentifier() for name in names)
    fields = MetricInputs(image=np.zeros((2, 2)))
    needs = [entry.needs for entry in METRICS] + [e.needs for e in CURVES] + [e.needs for e in MAPS]
    assert all(hasattr(fields, name) for names in needs for name in names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_tells_what_it_is_and_has_a_value(
    metric: Metric, everything: MetricInputs
) -> None:
    assert metric.label
    texts = (metric.definition, metric.source, metric.caveat)
    assert all(text.endswith(".") and len(text) > 10 for text in texts)
    assert all(text in metric.tooltip for text in texts)
    (found,) = measure(everything, metrics=[metric])
    assert found.reason == ""
    assert isinstance(found.value, float)
    assert math.isfinite(found.value) or metric.name == "kernel_psnr"
    assert (found.physical is not None) == (metric.unit == "px")
    if found.physical is not None:
        assert found.physical == pytest.approx(120 * found.value)


@pytest.mark.parametrize(
    "metric",
    [m for m in METRICS if m.better != "neither" and not m.name.endswith("_source")],
    ids=lambda metric: metric.name,
)
def test_every_judging_metric_tells_good_from_bad(metric: Metric) -> None:
    sample = photograph()
    truth = sample.truth.astype(float)
    rng = np.random.default_rng(1)
    # What is no part of the truth, as fine as the source can show; or the loss of detail.
    false = truth + 60 * gaussian_filter(rng.normal(size=truth.shape), 2)
    if metric.name.startswith("resolution"):
        truth = gaussian_filter(truth, 1.5)
        false = gaussian_filter(truth, 4.0)
    noise = rng.normal(0, 1, (2, *truth.shape))
    values = [
        metric(
            MetricInputs(
                image=image + noise[0],
                reference=sample.truth,
                source=sample.image,
                kernel=kernel,
                true_kernel=sample.kernel,
                second=image + noise[1],
            )
        )
        for image, kernel in (
            (truth, gaussian_kernel((7.5, 4.0), 2.2, scale=4)),
            (false, gaussian_kernel((2.0, 2.0), 0.0, scale=4)),
        )
    ]
    assert (values[0] > values[1]) == metric.higher_is_better


def test_every_number_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "measure.md").read_text(encoding="utf-8")
    for metric in METRICS:
        assert f"| {metric.label} |" in page
        assert metric.caveat in page
    for kind in FLAGS:
        assert f"| `{kind.name}` |" in page
        assert kind.meaning in page


def test_only_what_the_evidence_allows_is_measured() -> None:
    image = photograph().truth
    alone = {found.metric.name for found in measure(MetricInputs(image=image))}
    assert alone == {"resolution_decorrelation"}
    assert [plot.kind.name for plot in plots(MetricInputs(image=image))] == ["decorrelation"]
    assert maps(MetricInputs(image=image)) == ()
    # The 8-bit scores are for 8-bit pictures.
    names = {m.metric.name for m in measure(MetricInputs(image=image, reference=image / 255))}
    assert "psnr" in names
    assert "psnr_y" not in names


def test_what_cannot_be_measured_has_a_reason() -> None:
    image = np.random.default_rng(0).random((64, 64))
    found = {m.metric.name: m for m in measure(MetricInputs(image=image, reference=image))}
    assert found["ms_ssim"].value is None
    assert "expected at least 176" in found["ms_ssim"].reason
    assert found["psnr"].value == math.inf
    (plot,) = plots(MetricInputs(image=np.ones((64, 64))))
    assert plot.curve is None
    assert "constant" in plot.reason


def test_plots_and_maps_fit_what_they_are_of(everything: MetricInputs) -> None:
    drawn = plots(everything)
    assert [plot.kind for plot in drawn] == list(CURVES)
    for plot in drawn:
        assert plot.curve is not None, plot.reason
        assert plot.curve.x_label
        for line in plot.curve.lines:
            assert line.x.shape == line.y.shape
            assert np.isfinite(line.y).all()
        # Frequencies of source and image share an axis.
        if "frequency" in plot.curve.x_label:
            assert max(line.x.max() for line in plot.curve.lines) <= 0.5
    made = maps(everything)
    assert [layer.kind for layer in made] == list(MAPS)
    assert everything.source is not None
    for layer in made:
        assert layer.map is not None, layer.reason
        whole = everything.image if layer.map.grid == "image" else everything.source
        assert layer.map.values.shape == whole.shape[:2]


def test_a_kernels_profile_is_in_the_unit_of_the_pixels(everything: MetricInputs) -> None:
    shape = everything.kernel_shape
    for size, unit, factor in ((None, "px", 1.0), (120.0, "nm", 120.0)):
        inputs = replace(everything, pixel_size=size)
        (drawn,) = (plot for plot in plots(inputs) if plot.kind.name == "kernel_profile")
        assert drawn.curve is not None
        assert drawn.curve.x_label == f"distance from the centre [{unit}]"
        sides = (("longer", shape.longer), ("shorter", shape.shorter))
        for line, (side, profile) in zip(drawn.curve.lines, sides, strict=True):
            assert line.label == f"{side} axis, FWHM {factor * profile.fwhm:.3g} {unit}"
            np.testing.assert_allclose(line.x, factor * profile.position)


def test_a_record_has_value_and_unit(everything: MetricInputs) -> None:
    for one in measure(everything):
        assert one.record()["unit"] == one.metric.unit
        assert one.record()["value"] == one.value


def test_tables_and_metadata_hold_everything(everything: MetricInputs) -> None:
    found = measure(everything)
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["name"] for row in rows] == [m.metric.name for m in found]
    for row, one in zip(rows, found, strict=True):
        assert row["caveat"] == one.metric.caveat
        assert (row["value"] == "") == (one.value is None)
        if one.value is not None:
            assert float(row["value"]) == one.value
    metadata = to_metadata(found)
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["fwhm_longer"]["value_nm"] == pytest.approx(
        120 * metadata["fwhm_longer"]["value"]
    )


def test_colour_is_measured() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    source = image[::2, ::2]
    found = {
        m.metric.name: m.value
        for m in measure(MetricInputs(image=image, reference=image, source=source))
    }
    assert found["ssim"] == pytest.approx(1)
    assert found["rsp"] is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((2, 2, 2))}, r"the image has shape .* expected \(H, W\)"),
        ({"image": np.full((8, 8), np.nan)}, "the image has values that are NaN"),
        ({"image": np.zeros((8, 8), dtype=bool)}, "expected numbers"),
        ({"reference": np.zeros((8, 9))}, "the reference has shape"),
        ({"second": np.zeros((4, 4))}, "the second has shape"),
        ({"source": np.zeros((3, 4))}, "whole multiple"),
        ({"source": np.zeros((4, 4, 3))}, "whole multiple"),
        ({"second_source": np.zeros((4, 4))}, "without the first"),
        ({"source": np.zeros((4, 4)), "covered": np.zeros((8, 8), bool)}, "mask of covered"),
        ({"pixel_size": 0.0}, "pixel_size is 0"),
        ({"noise": -1.0}, "noise is -1"),
        ({"crop": -1}, "crop is -1"),
        ({"criterion": "half"}, "criterion is 'half'"),
    ],
)
def test_unfit_evidence_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MetricInputs(**{"image": np.zeros((8, 8)), **changes})  # type: ignore[arg-type]
