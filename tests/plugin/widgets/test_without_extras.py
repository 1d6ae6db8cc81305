"""What docks say where the packages of an extra are missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_blindsr.metrics import Curve, Line
from napari_blindsr.plugin.compare.profile_panel import ProfilePanel
from napari_blindsr.plugin.widgets.curves import CurvePanel

SENTENCE = 'pip install "napari-blindsr[plots]"'


def test_curves_without_plots(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari_blindsr.plugin.widgets.plot", None)
    panel = CurvePanel()
    qtbot.addWidget(panel)
    values = np.arange(3.0)
    curve = Curve(x_label="x", y_label="y", lines=(Line(label="a", x=values, y=values),))
    for _ in range(2):
        panel.show_curves({"one": curve, "two": "too small"})
        assert panel.plot is None
        assert SENTENCE in panel.reason.text()
    panel.choice.setCurrentText("two")
    assert panel.reason.text() == "too small"


def test_profiles_without_plots(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari_blindsr.plugin.compare.profile_plot", None)
    panel = ProfilePanel(ViewerModel(), list)
    qtbot.addWidget(panel.native)
    panel._make_plot()
    assert panel.plot is None
    assert SENTENCE in panel.message.value
