"""What docks say where the packages of an extra, or a newer napari, are missing."""

from __future__ import annotations

import sys

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.compare.mode import ModeOptions, SideBySide
from napari_blindsr.plugin.compare.profile_panel import ProfilePanel
from napari_blindsr.plugin.measure.panels import FindingsPanel

SENTENCE = 'pip install "napari-blindsr[plots]"'


def test_findings_without_plots(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari_blindsr.plugin.measure.curves", None)
    panel = FindingsPanel()
    qtbot.addWidget(panel)
    for _ in range(2):
        panel._make_curves()
    assert panel.tabs.count() == 2
    label = panel.tabs.widget(1)
    assert isinstance(label, QLabel)
    assert SENTENCE in label.text()


def test_profiles_without_plots(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari_blindsr.plugin.compare.profile_plot", None)
    panel = ProfilePanel(ViewerModel(), list)
    qtbot.addWidget(panel.native)
    panel._make_plot()
    assert panel.plot is None
    assert SENTENCE in panel.message.value


def test_a_grid_without_views_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_blindsr.plugin.compare.mode.has_cells", lambda _: False)
    mode = SideBySide(ViewerModel(), [], ModeOptions())
    with pytest.raises(InputError, match=r"needs napari 0\.6 or later"):
        mode.enter()
