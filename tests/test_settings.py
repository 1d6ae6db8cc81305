from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_blindsr.engine.kernels import FAMILIES, Gaussian
from napari_blindsr.errors import SettingsError
from napari_blindsr.settings import SCHEDULES, Schedule, Settings, kernel_family


def test_the_published_numbers() -> None:
    schedule = Schedule.named("published")
    assert (schedule.image_steps, schedule.inner_steps, schedule.warmup_steps) == (1000, 5, 200)
    assert (schedule.structural_steps, schedule.random_kernels, schedule.meta_every) == (405, 5, 3)
    assert (schedule.image_rate, schedule.kernel_rate) == (5e-3, 1e-4)
    assert (schedule.prior_weight, schedule.prior_exponent) == (2e-4, 0.67)


@given(steps=st.integers(1, 5000))
def test_phases_scale_with_the_steps(steps: int) -> None:
    schedule = Schedule().scaled(steps)
    assert schedule.image_steps == steps
    assert schedule.structural_steps == pytest.approx(0.405 * steps, abs=0.51)
    assert schedule.warmup_steps == pytest.approx(max(200, 0.2 * steps), abs=0.51)
    assert schedule.image_rate == Schedule().image_rate


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kernel", [*(family.name for family in FAMILIES), "known"])
def test_json_brings_settings_back(name: Any, kernel: str) -> None:
    settings = Settings(
        scale=3,
        kernel="known" if kernel == "known" else kernel_family(kernel),
        schedule=Schedule.named(name).scaled(33),
        seed=5,
        bounded=True,
    )
    record = json.loads(json.dumps(settings.to_json(), allow_nan=False))
    assert Settings.from_json(record) == settings


def test_json_keeps_the_parameters_of_a_family() -> None:
    settings = Settings(scale=2, kernel=Gaussian(variance=(1.0, 3.0)))
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_settings_cannot_be_changed() -> None:
    settings = Settings(scale=2)
    with pytest.raises(FrozenInstanceError):
        settings.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 9}, "scale is 9"),
        ({"scale": 2.5}, "scale is 2.5"),
        ({"method": "magic"}, "method is 'magic'"),
        ({"kernel": "round"}, "kernel is 'round'"),
        ({"geometry": "moon"}, "geometry is 'moon'"),
        ({"border": "wall"}, "border is 'wall'"),
        ({"seed": -1}, "seed is -1"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_a_bad_setting_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        replace(Settings(scale=2), **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_steps": 0}, "image_steps is 0"),
        ({"inner_steps": 0}, "inner_steps is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"image_rate": 0.0}, "image_rate is 0.0"),
        ({"kernel_rate": float("nan")}, "kernel_rate is nan"),
        ({"prior_weight": -1.0}, "prior_weight is -1.0"),
    ],
)
def test_a_bad_number_of_the_schedule_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        replace(Schedule(), **change)


def test_an_unknown_family_is_named_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'box'.*gaussian"):
        kernel_family("box")
