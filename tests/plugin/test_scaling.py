"""On screens of 125 to 200 % the docks fit a window of 1280 × 720, and no text is cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from tests.helpers import PATIENCE
from tests.plugin.scaled_docks import cut_off
from tests.plugin.test_layout import LOWEST

SCRIPT = Path(__file__).with_name("scaled_docks.py")
LOW = 720
"""Height of the window in its own pixels."""


@pytest.mark.slow
@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize("factor", [1.25, 1.5, 2.0])
@pytest.mark.parametrize("screen", ["large", "small"])
def test_nothing_is_cut_off(factor: float, screen: str) -> None:
    # Of the small screen's pixels each of the window's takes several.
    ratio = factor if screen == "large" else 1
    size = [str(round(side * ratio)) for side in (1280, LOW)]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *size],
        env={**os.environ, "QT_SCALE_FACTOR": str(factor)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout[run.stdout.index("{") :])
    assert found["ratio"] == factor
    assert found["problems"] == []
    assert max(found["heights"].values()) <= LOWEST, found["heights"]
    # napari itself needs more than the small screens have.
    assert found["window"][1] <= max(round(LOW * ratio / factor), found["least"] + 1)


def test_what_is_cut_off_is_found(qtbot: QtBot) -> None:
    text = "a text that is rather long"
    parts: list[QWidget] = [
        QLabel(text),
        QPushButton(text),
        QCheckBox(text),
        QComboBox(),
        QSpinBox(),
    ]
    combo, spin = parts[-2:]
    assert isinstance(combo, QComboBox)
    assert isinstance(spin, QSpinBox)
    combo.addItem(text)
    spin.setSuffix(text)
    wrapped = QLabel(text)
    wrapped.setWordWrap(True)
    root = QWidget()
    qtbot.addWidget(root)
    layout = QVBoxLayout(root)
    for part in (*parts, wrapped):
        layout.addWidget(part)
    root.resize(600, 400)
    root.show()
    assert list(cut_off(root)) == []
    for part in parts:
        part.setFixedWidth(50)
    wrapped.setFixedSize(60, 16)
    qtbot.wait(50)
    assert len(list(cut_off(root))) == len(parts) + 1
    for part in (*parts, wrapped):
        part.setFixedWidth(700)
    root.setFixedWidth(300)
    qtbot.wait(50)
    assert all("beyond the edge" in line for line in cut_off(root))
    assert list(cut_off(root))
