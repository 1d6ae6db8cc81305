"""Plots: their axes, what is drawn anew, and the colours of another theme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_blindsr.metrics import Curve, Line
from napari_blindsr.plugin.widgets.curves import CurvePanel
from napari_blindsr.plugin.widgets.plot import CurvePlot


def curve(*values: float, y_axis: Any = "logarithmic", label: str = "a") -> Curve:
    y = np.array(values)
    line = Line(label=label, x=np.arange(1.0, len(y) + 1), y=y)
    return Curve(x_label="x", y_label="y", lines=(line,), y_axis=y_axis)


@pytest.fixture
def plot(qtbot: QtBot) -> CurvePlot:
    made = CurvePlot()
    qtbot.addWidget(made)
    return made


def shown_range(plot: CurvePlot) -> tuple[float, float]:
    (_, (low, high)) = plot.getViewBox().viewRange()
    return low, high


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.09, 0.8, ["0.1", "0.2", "0.5"]),
        (0.001, 0.9, ["0.001", "0.01", "0.1"]),
        (0.011, 0.21, ["0.02", "0.05", "0.1", "0.2"]),
    ],
)
def test_numbers_beside_a_logarithmic_axis_are_few(
    plot: CurvePlot, low: float, high: float, labels: list[str]
) -> None:
    plot.show_curve(curve(high, low))
    major, minor = plot.getAxis("left")._tickLevels
    assert [text for _, text in major] == labels
    assert [10**at for at, _ in major] == pytest.approx([float(text) for text in labels])
    assert minor == []
    # Of a linear axis pyqtgraph finds them.
    plot.show_curve(curve(high, low, y_axis="linear"))
    assert plot.getAxis("left")._tickLevels is None


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm(plot: CurvePlot) -> None:
    plot.show_curve(curve(1.0, 0.0, -1.0, 0.1))
    (item,) = plot.plotItem.listDataItems()
    np.testing.assert_allclose(item.getData()[1], [0, np.nan, np.nan, -1])
    low, high = shown_range(plot)
    assert -1.2 < low <= -1
    assert high > 0


def test_values_that_hardly_differ_look_so(plot: CurvePlot) -> None:
    plot.show_curve(curve(30.0, 30.001, y_axis="linear"))
    low, high = shown_range(plot)
    assert 29.9 < low < 29.96
    assert 30.04 < high < 30.1


def test_more_values_go_into_the_same_lines(plot: CurvePlot) -> None:
    plot.show_curve(curve(1.0))
    before = plot.plotItem.listDataItems()
    plot.show_curve(curve(1.0, 0.5))
    assert plot.plotItem.listDataItems() == before
    assert len(before[0].getData()[0]) == 2
    # Another line is drawn anew, with its name.
    plot.show_curve(curve(1.0, label="b"))
    assert plot.plotItem.listDataItems() != before
    assert [label.text for _, label in plot.legend.items] == ["b"]


def test_a_list_of_the_same_names_is_left_alone(qtbot: QtBot) -> None:
    panel = CurvePanel()
    qtbot.addWidget(panel)
    cleared, model = list[int](), panel.choice.model()
    assert model is not None
    model.rowsRemoved.connect(lambda *_: cleared.append(1))
    panel.show_curves({"one": curve(1.0), "two": curve(2.0)})
    panel.choice.setCurrentText("two")
    panel.show_curves({"one": curve(1.0, 2.0), "two": curve(2.0, 3.0)})
    assert not cleared
    panel.show_curves({"two": curve(2.0)})
    assert cleared
    assert panel.choice.currentText() == "two"


def test_a_plot_takes_the_colours_of_another_theme(qtbot: QtBot) -> None:
    root = QWidget()
    plot = CurvePlot()
    QVBoxLayout(root).addWidget(plot)
    qtbot.addWidget(root)
    root.resize(300, 300)
    root.show()
    plot.show_curve(curve(1.0, 0.5))
    for colour in ("#202020", "#e0e0e0"):
        root.setStyleSheet(f"QWidget {{ background-color: {colour}; }}")
        qtbot.wait(50)
        assert root.grab().toImage().pixelColor(60, 290).name() == colour
        # In the plot, where nothing is drawn.
        assert plot.grab().toImage().pixelColor(2, 2).name() == colour
