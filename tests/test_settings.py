from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_blindsr.errors import SettingsError
from napari_blindsr.methods import METHOD_TABLE, METHODS, SCHEDULES, Schedule, plan_schedule
from napari_blindsr.physics.kernels import FAMILIES, Gaussian
from napari_blindsr.settings import Settings, kernel_family
from napari_blindsr.types import FINISHES


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kernel", [*(family.name for family in FAMILIES), "known"])
def test_json_brings_settings_back(method: str, name: Any, kernel: str) -> None:
    settings = Settings(
        scale=3,
        method=method,
        kernel="known" if kernel == "known" else kernel_family(kernel),
        schedule=Schedule.named(name).scaled(33),
        seed=5,
        bounded=None if method == "fast" else True,
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
        ({"finish": "magic"}, "finish is 'magic'; expected one of .*'measurement'"),
        ({"method": "fast", "finish": "none"}, "finish is 'none', expected one of .*'prior'"),
        ({"method": "fast", "bounded": True}, "bounded is True, but method 'fast'"),
        ({"method": "fast", "bounded": False}, "bounded is False, but method 'fast'"),
        ({"method": "mlmc", "gain": 0.5}, "method 'mlmc' takes no gain and no mask"),
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


def test_the_default_method_reads_the_blur() -> None:
    assert Settings(scale=2).method == METHODS[0] == "fast"
    assert Settings(scale=2).used_finish == "prior"


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_every_finish_goes_with_every_method_that_has_an_image(method: Any, finish: Any) -> None:
    assert Settings(scale=2, method=method.name).used_finish == method.finish
    if finish == "none" and not method.optimises:
        with pytest.raises(SettingsError, match="needs a non-blind reconstruction"):
            Settings(scale=2, method=method.name, finish=finish)
    else:
        assert Settings(scale=2, method=method.name, finish=finish).used_finish == finish


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_steps_are_for_methods_that_optimise(method: Any) -> None:
    def plan(steps: int | None, *, kernel: str = "gaussian") -> Schedule:
        return plan_schedule("published", method=method.name, kernel=kernel, steps=steps)

    assert plan(None) == Schedule()
    assert plan(None, kernel="disk") == Schedule.named("published", kernel="disk")
    if method.optimises:
        assert plan(33) == Schedule().scaled(33)
    else:
        with pytest.raises(SettingsError, match="steps is 33, but method 'fast' takes no steps"):
            plan(33)


def test_a_schedule_of_ones_own_is_planned_as_it_is() -> None:
    own = Schedule(channels=8, image_steps=40, structural_steps=20)
    assert plan_schedule(own, method="fast", kernel="disk", steps=None) == own
    assert plan_schedule(own, method="mlmc", kernel="disk", steps=20) == own.scaled(20)


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
def test_a_schedule_has_influence_only_where_there_is_one(method: Any) -> None:
    stays = Settings(scale=2, method=method.name, schedule=Schedule.named("reference"))
    assert stays.recentres == (not method.optimises)
    assert Settings(scale=2, method=method.name).recentres


@pytest.mark.parametrize(
    ("noise", "geometry", "estimates"),
    [
        ("auto", "camera", True),
        ("auto", "benchmark", True),
        (0.0, "camera", True),
        (0.0, "benchmark", False),
        (3.0, "camera", False),
        (3.0, "benchmark", False),
    ],
)
def test_noise_is_estimated_for_a_finish_if_nothing_is_said_of_a_camera(
    noise: Any, geometry: Any, *, estimates: bool
) -> None:
    assert Settings(scale=2, noise=noise, geometry=geometry).estimates_noise is estimates


@pytest.mark.parametrize("name", ["noise", "gain", "threads"])
def test_a_word_in_place_of_a_number_is_named(name: str) -> None:
    given: Any = {name: "high"}
    with pytest.raises(SettingsError, match=f"{name} is 'high'; "):
        Settings(scale=2, **given)
