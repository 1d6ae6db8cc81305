"""What an earlier run of the session, and the installed package, let the dock say and do."""

from __future__ import annotations

from email.message import Message
from typing import Any

import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel

from napari_blindsr.plugin.restore import request
from napari_blindsr.plugin.widgets import fields
from napari_blindsr.plugin.widgets.texts import duration_text
from tests.plugin.conftest import DockMaker
from tests.plugin.dock import assert_free, click, wait_idle


def test_a_run_is_repeated_with_another_seed_and_its_time_is_shown(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_paces", {})
    viewer, widget = open_dock(blurred, steps=3)
    size = widget._form.size_row
    assert size.value.endswith(" free")
    widget.advanced.value = True
    for seed in (1, 2):
        click(widget.seed.another)
        assert not widget.run_button.enabled
        wait_idle(qtbot, widget)
        assert_free(widget)
        assert widget.seed.value == seed
        record = viewer.layers[-1].metadata["napari-blindsr"]
        assert record["seed"] == seed
    ((key, pace),) = request._paces.items()
    assert key[0] == "mlmc"
    assert pace * 48 * 48 == pytest.approx(widget._pace.seconds)
    request._paces[key] = 0.01
    # 4 times the pixels and 10 times the steps take 40 times as long.
    for scale, steps in ((4, 30), (2, 3)):
        widget.scale.value, widget.steps.value = scale, steps
        seconds = 0.01 * (24 * scale) ** 2 * steps
        assert size.value.endswith(f" free · takes about {duration_text(seconds)}")
    # Another method, and one without steps.
    widget.method.value = "ddsr"
    assert size.value.endswith(" free")
    widget.method.value = "fast"
    # Its reconstruction counts steps, too, but others than those of a schedule.
    request._paces[request._pace_key(widget._form.settings())] = 0.01
    widget.scale.value = 4
    assert size.value.endswith(" free")
    assert not widget._form.is_shown(widget.steps)
    assert not widget.seed.another.native.isVisibleTo(widget.seed.native)


def test_without_an_image_there_is_nothing_to_repeat(open_dock: DockMaker) -> None:
    _, widget = open_dock()
    widget.seed.another.native.click()
    assert widget.seed.value == 0
    assert widget._worker is None


@pytest.mark.parametrize("address", [None, "https://example.org/docs"])
def test_the_last_line_has_the_version_and_a_link(
    open_dock: DockMaker, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    package = Message()
    package["Version"] = "1.2.3"
    if address is not None:
        package["Project-URL"] = "Source, https://example.org"
        package["Project-URL"] = f"Documentation, {address}"
    monkeypatch.setattr(fields, "metadata", lambda _: package)
    _, widget = open_dock()
    labels = widget.native.findChildren(QLabel)
    (line,) = (label for label in labels if label.text().startswith("napari-blindsr"))
    link = "" if address is None else f' · <a href="{address}">Documentation</a>'
    assert line.text() == f"napari-blindsr 1.2.3{link}"
    assert line.openExternalLinks()
