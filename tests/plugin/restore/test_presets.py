"""Settings that are saved to a file and loaded from one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_blindsr.images.plain import write_report
from napari_blindsr.physics.kernels import Disk
from tests.plugin.conftest import DockMaker, Notifications, make_result

PIXELS = np.eye(24, dtype=np.float32)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets what the next dialogue answers."""

    def give(path: Path) -> None:
        for name in ("getSaveFileName", "getOpenFileName"):
            monkeypatch.setattr(f"qtpy.QtWidgets.QFileDialog.{name}", lambda *_: (str(path), ""))

    return give


def test_what_is_saved_is_loaded(open_dock: DockMaker, answer: Any, tmp_path: Path) -> None:
    _, widget = open_dock(np.stack([PIXELS] * 3), method="ddsr")
    form = widget._form
    widget.scale.value, widget.kernel.value, widget.noise.value = 3, "disk", "auto"
    widget.families["disk"].radius.value = (1.0, 2.5)
    widget.sharing.value, widget.dtype.value, widget.lacking.value = "plane", "source", True
    saved = form.settings()
    answer(tmp_path / "mine")
    form.save_file_button.native.click()
    form.restore_defaults()
    assert form.settings() != saved
    answer(tmp_path / "mine.json")
    form.load_file_button.native.click()
    assert form.settings() == saved
    assert saved.kernel == Disk(radius=(1.0, 2.5))
    assert (widget.sharing.value, widget.dtype.value, widget.lacking.value) == (
        "plane", "source", True,
    )  # fmt: skip
    assert widget.status.value == f"Settings of {tmp_path / 'mine.json'}."


def test_the_report_of_a_run_is_loaded(open_dock: DockMaker, answer: Any, tmp_path: Path) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    result = make_result(scale=3, shape=(24, 24))
    write_report(tmp_path / "run.json", result.report())
    answer(tmp_path / "run.json")
    widget._form.load_file_button.native.click()
    made = widget._form.settings()
    assert made == replace(result.settings, threads=made.threads)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "it is no JSON file"),
        ("[1]", "it holds [1]; expected an object with settings"),
        ("{}", "the settings have no 'scale'"),
        ('{"settings": 3}', "the settings are 3; expected an object"),
        ('{"scale": 2, "methd": "fast"}', "'methd', which is unknown; did you mean 'method'?"),
        ('{"scale": "2"}', "scale is '2'; expected a whole number"),
        ('{"scale": 2, "method": "slow"}', "slow"),
        ('{"scale": 2, "kernel": 5}', "kernel is 5; expected an object with a name"),
        ('{"scale": 2, "kernel": "box"}', "kernel is 'box'; expected one of"),
        ('{"scale": 2, "kernel": {"name": "disk", "radus": 1}}', "did you mean 'radius'?"),
        ('{"scale": 2, "kernel": {"name": "disk", "radius": "1"}}', "kernel 'disk' has a value"),
        ('{"scale": 2, "schedule": {"image_steps": "many"}}', "schedule has a value"),
        ('{"scale": 2, "optics": {"na": 1.2}}', "optics has 'na', which is unknown"),
        ('{"scale": 2, "field": 3}', "field is 3; expected rows and columns"),
        ('{"scale": 2, "device": 1}', "device is 1; expected a name"),
        ('{"scale": 2, "mask_saturated": "yes"}', "mask_saturated is 'yes'; expected true"),
        ('{"settings": {"scale": 2}, "form": {"colour": 1}}', "'colour', which is unknown"),
        ('{"settings": {"scale": 2}, "form": {"dtype": "int"}}', "dtype is 'int'; expected one"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_and_sets_nothing(
    open_dock: DockMaker,
    answer: Any,
    notifications: Notifications,
    tmp_path: Path,
    content: str,
    words: str,
) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    widget.scale.value = 8
    before = widget._form.settings()
    path = tmp_path / "wrong.json"
    path.write_text(content, encoding="utf-8")
    answer(path)
    widget._form.load_file_button.native.click()
    (text,) = notifications.errors()
    assert words in text
    assert str(path) in text
    assert "\n" not in text
    assert widget.status.value == text
    assert widget._form.settings() == before


def test_nothing_is_replaced_that_the_dialogue_did_not_ask_about(
    open_dock: DockMaker, answer: Any, notifications: Notifications, tmp_path: Path
) -> None:
    _, widget = open_dock(PIXELS, method="fast")
    (tmp_path / "mine.json").write_text("precious", encoding="utf-8")
    answer(tmp_path / "mine")
    widget._form.save_file_button.native.click()
    assert "exists already" in notifications.errors()[0]
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == "precious"
    answer(tmp_path / "mine.json")
    widget._form.save_file_button.native.click()
    assert (
        json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))["settings"]["scale"] == 2
    )
