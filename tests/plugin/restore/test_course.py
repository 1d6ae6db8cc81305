"""The curves of an optimisation: what they show, during the run and after it, and of what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Image
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.evaluation.samples import photograph
from napari_blindsr.methods import Schedule
from napari_blindsr.metrics import METRICS, Curve, MetricInputs
from napari_blindsr.metrics.measure import measure
from napari_blindsr.plugin.layers.sample_data import sample_layers
from napari_blindsr.plugin.restore import preview as module
from napari_blindsr.plugin.restore.course import CHANGE, LOSS, PSNR, Course
from napari_blindsr.progress import Progress
from napari_blindsr.solvers.loop import Estimate
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import LONG, click, wait_idle


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.0)
    monkeypatch.setattr(module, "COST", 1.0)


def report(step: int, *, stage: str = "fitting structure", loss: float, kernel: Any) -> Progress:
    latest = Estimate(image=torch.zeros(1, 6, 6), kernel=torch.as_tensor(kernel))
    return Progress(
        step=step, total=9, stage=stage, loss=loss, seconds=0, remaining=None, latest=latest
    )


def values(course: Course, name: str) -> list[tuple[str, Any, Any]]:
    curve = course.curves()[name]
    assert isinstance(curve, Curve)
    return [(line.label, list(line.x), list(line.y)) for line in curve.lines]


def test_what_the_curves_say() -> None:
    truth = np.random.default_rng(0).random((12, 12)).astype(np.float32)
    course = Course(Schedule(image_steps=4, inner_steps=2), truth)
    assert course.every == 2
    assert course.curves() == {}
    kernels = [[0.0, 1.0], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1]]
    for number, kernel in enumerate(kernels):
        stage = "fitting structure" if number < 3 else "fitting intensities"
        course.take(report(number + 1, stage=stage, loss=1.0 / (number + 1), kernel=kernel))
    assert values(course, LOSS) == [
        ("Fitting structure", [1, 2, 3], pytest.approx([1, 1 / 2, 1 / 3])),
        ("Fitting intensities", [4], [0.25]),
    ]
    # Of the kernels of steps 2 and 4: 0.4 of the weight went from one pixel to the other.
    assert values(course, CHANGE) == [("share moved in 2 steps", [4], pytest.approx([0.4]))]
    assert PSNR not in course.curves()
    image = truth + np.float32(0.1)
    course.compare(4, image)
    ((_, steps, (found,)),) = values(course, PSNR)
    # The number that the dock "Measure quality" has without alignment.
    psnr = [metric for metric in METRICS if metric.name == "psnr"]
    inputs = MetricInputs(image=image, reference=truth, registers=False)
    assert (steps, found) == ([4], measure(inputs, metrics=psnr)[0].value)


def test_a_known_kernel_and_a_useless_truth_are_not_drawn() -> None:
    course = Course(Schedule(image_steps=2, inner_steps=1), np.zeros((4, 4)))
    for step in (1, 2):
        course.take(report(step, loss=1.0, kernel=[0.5, 0.5]))
        course.compare(step, np.ones((4, 4)))
    assert course.curves()[CHANGE] == "The kernel is known: it does not change."
    assert PSNR not in course.curves()


def test_the_kernel_is_compared_some_hundred_times() -> None:
    for steps, inner, every in ((1000, 5, 10), (400, 1, 4), (30, 5, 5), (100_000, 5, 1000)):
        assert Course(Schedule(image_steps=steps, inner_steps=inner), None).every == every


@pytest.mark.usefixtures("often")
def test_curves_grow_during_a_run_and_stay(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    truth = viewer.add_image(np.kron(blurred, np.ones((2, 2), np.float32)), name="truth")
    widget.image.value, widget.truth.value = viewer.layers["image 0"], truth
    course, panel = widget.course, widget.course.panel
    assert course.isHidden()
    click(widget.run_button)
    qtbot.waitUntil(lambda: PSNR in course._shown, timeout=1000 * PATIENCE)
    assert not course.isHidden()
    assert [panel.choice.itemText(index) for index in range(3)] == [LOSS, CHANGE, PSNR]

    def drawn() -> int:
        return max(len(item.getData()[0]) for item in panel.plot.plotItem.listDataItems())

    before = drawn()
    # An open list, and the choice, stay while curves grow.
    panel.choice.setCurrentText(PSNR)
    qtbot.waitUntil(lambda: drawn() > before, timeout=1000 * PATIENCE)
    assert panel.choice.currentText() == PSNR
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    assert not course.isHidden()
    # The last steps too, as the record of the run has them.
    losses = viewer.layers[-1].metadata["napari-blindsr"]["losses"]
    lines = course._shown[LOSS].lines
    np.testing.assert_allclose(np.concatenate([line.y for line in lines]), losses, rtol=1e-6)
    course.toggle.click()
    assert panel.isHidden()
    assert not course.isHidden()
    # A run that draws nothing leaves nothing of the run before.
    widget.method.value = "fast"
    click(widget.run_button)
    assert course.isHidden()
    wait_idle(qtbot, widget)
    assert course.isHidden()


@pytest.mark.usefixtures("often")
def test_the_curve_of_a_sample_is_against_its_truth(open_dock: DockMaker, qtbot: QtBot) -> None:
    viewer, widget = open_dock(steps=3)
    sample = photograph()
    for layer_data in sample_layers(sample):
        viewer.add_layer(Image(layer_data[0], **layer_data[1]))
    widget.scale.value = sample.scale
    widget.channels.value = 16
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert PSNR in widget.course._shown
    # At another scale it is no truth.
    widget.scale.value = 2
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert LOSS in widget.course._shown
    assert PSNR not in widget.course._shown


def test_a_chosen_truth_that_does_not_fit_is_refused(
    open_dock: DockMaker, blurred: NDArray[Any], notifications: Notifications
) -> None:
    viewer, widget = open_dock(blurred)
    truth = viewer.add_image(np.zeros((24, 30)), name="truth")
    widget.image.value, widget.truth.value = viewer.layers["image 0"], truth
    click(widget.run_button)
    (message,) = notifications.errors()
    found = "the ground truth layer 'truth' has 24 × 30 px, grey"
    assert message == f"{found}; expected 48 × 48 px, grey: 2 times the image"
    # A method that optimises nothing shows no curves, and needs none.
    assert widget._form.fields["truth"] in widget._form.groups["Result"]
    widget.advanced.value = True
    assert widget._form.is_shown(widget.truth)
    widget.method.value = "fast"
    assert not widget._form.is_shown(widget.truth)


@pytest.mark.usefixtures("often")
def test_of_a_region_the_truth_is_cut(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    from napari_blindsr.plugin.restore.request import read_request  # noqa: PLC0415

    viewer, widget = open_dock(np.tile(blurred, (2, 2)), steps=3)
    fine = np.arange(96.0 * 96).reshape(96, 96)
    truth = viewer.add_image(fine, name="truth")
    shapes = viewer.add_shapes([[[8, 4], [8, 36], [40, 36], [40, 4]]], name="part")
    widget.image.value, widget.truth.value = viewer.layers["image 0"], truth
    widget.region.value = shapes
    request = read_request(widget._form, viewer)
    box = request.source.region
    assert box is not None
    np.testing.assert_array_equal(request.truth, fine[box.scaled(2).slices])
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert PSNR in widget.course._shown
