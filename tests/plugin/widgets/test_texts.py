"""Sentences of the dock."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_blindsr.estimation.estimate import BlurEstimate
from napari_blindsr.plugin.widgets.devices import device_label, missing_gpu_hint, torch_build
from napari_blindsr.plugin.widgets.texts import (
    NO_BREAK,
    details_of,
    duration_text,
    ending_text,
    progress_text,
)
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.settings import Settings
from tests.plugin.conftest import make_result


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (1500, "25 min"),
        (3599, "60 min"),
        (5400, "1 h 30 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_progress_tells_step_loss_and_time_left() -> None:
    report = Progress(step=20, total=100, stage="image", loss=0.01234, seconds=10, remaining=40)
    text = progress_text(report)
    assert text.replace(NO_BREAK, " ") == "Step 20 of 100 · loss 0.01234 · 40 s left"
    # Lines break between the parts only.
    assert [len(part.split(" ")) for part in text.split(" · ")] == [1, 1, 1]


def test_progress_before_the_first_step_tells_the_stage() -> None:
    report = Progress(step=0, total=100, stage="warming up", loss=None, seconds=1, remaining=None)
    assert progress_text(report).replace(NO_BREAK, " ") == "Warming up"


def test_progress_of_what_goes_before_the_steps_tells_the_stage() -> None:
    report = Progress(
        step=4,
        total=22,
        stage="improving the estimate of the blur",
        loss=None,
        seconds=2,
        remaining=9,
        unit="part",
    )
    assert progress_text(report).replace(NO_BREAK, " ") == (
        "Improving the estimate of the blur · 9 s left"
    )


def test_progress_after_the_last_step_tells_the_stage() -> None:
    report = Progress(step=9, total=9, stage="finishing", loss=None, seconds=9, remaining=None)
    assert progress_text(report) == "Finishing"


def test_estimates_are_shown_and_given_numbers_are_not() -> None:
    result = make_result(scale=2, shape=(5, 5))
    given = Settings(scale=2, method="ddsr", gain=0.3, noise=2.0)
    asked = dataclasses.replace(given, gain="auto", noise="auto")
    unsaid = dataclasses.replace(given, noise=0.0)
    texts = [
        details_of(dataclasses.replace(result, settings=settings, gain=0.31234, noise=2.5))
        for settings in (given, asked, unsaid)
    ]
    assert texts == [
        [],
        ["Estimated gain: 0.312.", "Estimated noise: SD 2.5."],
        ["Estimated noise: SD 2.5."],
    ]


def test_the_blur_is_shown_with_its_interval_and_its_networks() -> None:
    blur = BlurEstimate(
        kernel=np.full((3, 3), 1 / 9, dtype=np.float32),
        family="gaussian",
        widths=(3.0, 1.0),
        intervals=((2.5, 3.6), (0.8, 1.3)),
        angle=0.0,
        families={},
        found=True,
        scale=2,
        reader="network",
    )
    result = dataclasses.replace(
        make_result(scale=2, shape=(5, 5)), settings=Settings(scale=2), finish="prior", blur=blur
    )
    # In pixels of the image, which are twice those of the result; there are no steps.
    assert ending_text(result) == "Done in 2 s (CPU)."
    assert details_of(result, 65.0) == [
        "Estimated blur: FWHM 3.5 × 1.2 px (90 %: 0.9–4.2), 0.23 × 0.08 µm.",
        "Neural networks used: kernel estimator, image prior.",
    ]
    assert details_of(result)[0] == "Estimated blur: FWHM 3.5 × 1.2 px (90 %: 0.9–4.2)."


def test_a_reconstruction_alone_is_shown() -> None:
    result = dataclasses.replace(make_result(scale=2, shape=(5, 5)), finish="usrnet")
    assert details_of(result) == ["Neural networks used: USRNet."]
    assert details_of(dataclasses.replace(result, finish="measurement")) == []


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_ending_has_its_sentence(reason: StopReason) -> None:
    result = dataclasses.replace(make_result(scale=2, shape=(5, 5)), reason=reason)
    assert ending_text(result).endswith(" in 2 s (CPU, 5 of 1000 steps).")


def test_the_torch_build_is_that_of_the_package() -> None:
    # The metadata of some packages leave out what the build is for.
    assert f"torch {torch.__version__}".startswith(torch_build())
    assert torch_build().partition("+")[0] == f"torch {torch.__version__}".partition("+")[0]


@pytest.mark.parametrize(
    ("names", "has_nvidia", "built_for_cuda", "part"),
    [
        (("cpu",), True, False, "torch 2.13.0+cpu is a CPU-only build"),
        (("cpu",), True, True, "driver may be too old"),
        (("cpu",), False, False, ""),
        (("cuda", "cpu"), True, True, ""),
        (("cuda:0", "cuda:1", "cpu"), True, True, ""),
    ],
)
def test_an_idle_gpu_is_pointed_out(
    names: tuple[str, ...], has_nvidia: bool, built_for_cuda: bool, part: str
) -> None:
    hint = missing_gpu_hint(
        names=names, build="2.13.0+cpu", built_for_cuda=built_for_cuda, has_nvidia=has_nvidia
    )
    assert part in hint
    assert bool(hint) == bool(part)


def test_devices_have_names_for_people() -> None:
    labels = [device_label(name) for name in ("auto", "cuda", "cuda:1", "mps", "cpu")]
    assert labels == ["Automatic", "NVIDIA GPU", "NVIDIA GPU 1", "Apple GPU", "CPU"]
