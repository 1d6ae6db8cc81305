"""The verdict: how good a result is, in one line, with what to do about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.restore.judge import Resolutions, judge, resolutions
from napari_blindsr.plugin.widgets.verdict import LEVELS, Caution, VerdictPanel
from napari_blindsr.progress import StopReason
from napari_blindsr.restoration.diagnostics import FLAGS, Flag
from tests.plugin.conftest import make_result
from tests.plugin.measuring import coarse_image, fine_image


def flag(name: str) -> Flag:
    return Flag(name=name, message="it is so", meaning="This follows.", advice="Do that.")


def source(**attributes: Any) -> Any:
    return read_layer(Image(np.eye(6), **attributes))


def judged(*names: str, **changes: Any) -> Any:
    result = make_result(scale=2, shape=(6, 6))
    result = dataclasses.replace(result, flags=tuple(map(flag, names)), **changes)
    return judge(result, source())


def test_every_level_is_that_of_a_flag() -> None:
    assert set(LEVELS) < {kind.name for kind in FLAGS}


def test_nothing_against_a_result_is_good() -> None:
    verdict = judged()
    assert (verdict.level, verdict.line, verdict.cautions) == ("good", "Good", ())
    assert verdict.details[0] == "Done in 2 s (CPU, 5 of 1000 steps)."


@pytest.mark.parametrize(
    ("names", "level", "line"),
    [
        (("scale_beyond_kernel",), "good", "Good · 1 caution"),
        (("scale_beyond_kernel", "no_blur"), "caution", "Use with caution · 2 cautions"),
        (("residual_not_white",), "doubtful", "Do not trust fine detail · 1 caution"),
        (("something new",), "caution", "Use with caution · 1 caution"),
    ],
)
def test_the_gravest_finding_counts(names: tuple[str, ...], level: str, line: str) -> None:
    verdict = judged(*names)
    assert (verdict.level, verdict.line) == (level, line)
    assert len(verdict.cautions) == len(names)
    only = Caution(message="It is so.", meaning="This follows.", advice="Do that.")
    assert set(verdict.cautions) == {only}


def test_what_was_left_out_is_a_caution() -> None:
    verdict = judged(notes=("not done: a, b",))
    assert (verdict.level, verdict.cautions) == ("caution", (Caution(message="Not done: a, b."),))


def test_a_run_that_diverged_is_doubtful() -> None:
    assert judged(reason=StopReason.DIVERGED).level == "doubtful"


def test_resolution_is_shown_in_nm_where_pixels_have_a_size() -> None:
    found = Resolutions(before=5.37, after=1.63)
    result = make_result(scale=2, shape=(6, 6))
    sized = source(scale=(0.1, 0.1), units=("um", "um"))
    assert judge(result, sized, found).line == "Good · resolution 537 → 163 nm"
    assert judge(result, source(), found).line == "Good · resolution 5.4 → 1.6 px"


def test_resolution_is_that_of_image_and_result() -> None:
    fine = fine_image()
    taken = read_layer(Image(coarse_image(fine)))
    found = resolutions(make_result(scale=2, shape=(48, 48), values=fine), taken)
    assert found is not None
    assert 0 < found.after < found.before
    # Of what is too small nothing is said.
    assert resolutions(make_result(scale=2, shape=(6, 6)), source()) is None


def test_details_are_shown_on_a_click(qtbot: QtBot) -> None:
    panel = VerdictPanel()
    qtbot.addWidget(panel)
    assert panel.isHidden()
    panel.show_verdict(judged("residual_not_white"))
    assert not panel.isHidden()
    assert panel.details.isHidden()
    panel.toggle.click()
    assert not panel.details.isHidden()
    text = panel.details.text()
    assert "What to do: Do that." in text
    assert "It is so." in text
    assert "This follows." in text
    panel.show_verdict(None)
    assert panel.isHidden()
