"""Method "fast": networks estimate the blur and restore the image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_blindsr import Schedule, iterate, restore
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.evaluation.samples import Sample, photograph
from napari_blindsr.images.planes import Orientation, canonical
from napari_blindsr.metrics import psnr_y
from napari_blindsr.physics.kernels import Gaussian, Motion
from napari_blindsr.physics.kernels.base import KernelFamily
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.progress import Progress, StopReason, drained
from napari_blindsr.restoration.restore import make_settings
from napari_blindsr.solvers.nonblind import restorers
from napari_blindsr.stacks.restore_stack import iterate_stack
from napari_blindsr.types import FINISHES, PRECISIONS
from tests.helpers import reference_data

LEARNED = {"prior": ("image prior",), "usrnet": ("USRNet",), "measurement": ()}


@pytest.fixture(scope="module")
def sample() -> Sample:
    return photograph()


@pytest.fixture(scope="module")
def image(sample: Sample) -> NDArray[np.uint8]:
    return np.asarray(sample.image)


def options(finish: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {"scale": 4, "finish": finish, "device": "cpu", "quality": "fast"}
    if finish == "usrnet":
        chosen["usrnet_weights"] = reference_data() / "usrnet_tiny.pth"
    return chosen


@pytest.mark.parametrize("finish", [name for name in FINISHES if name != "none"])
def test_every_finish_restores_and_says_so(
    finish: str, sample: Sample, image: NDArray[np.uint8]
) -> None:
    result = restore(image, **options(finish))
    assert result.settings.method == "fast"
    assert (result.finish, result.reason) == (finish, StopReason.COMPLETED)
    assert result.trace.shape == (0,)
    assert result.learned_priors == ("kernel estimator", *LEARNED[finish])
    plain = interpolate(sample.image, 4) / 255
    scores = [
        psnr_y(np.clip(picture, 0, 1), sample.truth, crop=4)
        for picture in (plain, result.image / 255)
    ]
    assert scores[1] > scores[0] + 0.3
    # The truth is not far from the estimate of the blur.
    assert result.blur is not None
    for width, variance in zip(result.blur.widths, (8, 4), strict=True):
        assert width == pytest.approx(variance**0.5, rel=0.4)


def test_a_careful_result_is_the_mean_of_four_rotations(
    image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, chosen = image[:32, :40], {**options("prior"), "kernel": np.full((5, 5), 1 / 25)}
    careful = restore(small, **{**chosen, "quality": "refined"})
    assert careful.learned_priors == ("image prior",)
    parts = []
    for number in range(4):

        def turned(planes: NDArray[Any], number: int = number) -> Orientation:
            return canonical(planes).rotations()[number]

        monkeypatch.setattr(restorers, "canonical", turned)
        parts.append(restore(small, **chosen).image)
    # Networks do not treat all rotations alike.
    spread = np.std(parts, axis=0).max()
    assert spread > 1
    np.testing.assert_allclose(careful.image, np.mean(parts, axis=0), atol=0.1 * spread)


def test_without_a_finish_there_is_no_image(image: NDArray[np.uint8]) -> None:
    with pytest.raises(SettingsError, match=r"needs a non-blind reconstruction.*'prior', 'usrnet'"):
        restore(image, **options("none"))


def test_there_are_no_steps_to_take(image: NDArray[np.uint8]) -> None:
    with pytest.raises(SettingsError, match="steps is 300, but method 'fast' takes no steps"):
        restore(image, steps=300, **options("prior"))


def test_a_schedule_has_no_influence(image: NDArray[np.uint8]) -> None:
    plain = restore(image, **options("measurement"))
    other = restore(
        image, schedule=Schedule(image_steps=3, recentre=False), **options("measurement")
    )
    np.testing.assert_array_equal(plain.image, other.image)
    np.testing.assert_array_equal(plain.kernel, other.kernel)


def test_the_report_has_the_blur_and_the_networks_used(image: NDArray[np.uint8]) -> None:
    result = restore(image, **options("prior"))
    record = json.loads(json.dumps(result.report(), allow_nan=False))
    assert record["learned_priors"] == ["kernel estimator", "image prior"]
    assert record["steps"] == len(record["losses"]) == 0
    blur = record["blur"]
    assert (blur["family"], blur["reader"], blur["scale"]) == ("gaussian", "network", 4)
    for width, (low, high) in zip(blur["widths"], blur["intervals"], strict=True):
        assert 0 < low < width < high
    assert sum(blur["families"].values()) == pytest.approx(1, abs=1e-3)
    assert result.blur is not None
    np.testing.assert_allclose(result.kernel, result.blur.kernel, atol=2e-3)


def test_methods_that_optimise_give_no_blur_estimate(image: NDArray[np.uint8]) -> None:
    schedule = Schedule(image_steps=1, warmup_steps=1, structural_steps=1, channels=8)
    result = restore(image[:20, :20], scale=2, method="mlmc", schedule=schedule)
    assert result.blur is None
    assert result.learned_priors == ()
    record = result.report()
    assert (record["blur"], record["learned_priors"]) == (None, [])


@pytest.mark.parametrize("family", [Gaussian(variance=(1.0, 2.0)), Motion(extent=(1.0, 3.0))])
def test_the_kernel_is_one_of_the_family(family: KernelFamily, image: NDArray[np.uint8]) -> None:
    result = restore(image, kernel=family, **options("measurement"))
    assert result.blur is not None
    assert result.blur.family == family.name
    assert result.kernel.sum() == pytest.approx(1, abs=1e-4)
    assert result.kernel.min() >= 0
    if isinstance(family, Gaussian):
        # Narrower than what was read, as the family asks for.
        place = np.arange(len(result.kernel)) - result.kernel_center[0]
        variances = [result.kernel.sum(axis=axis) @ place**2 for axis in (0, 1)]
        assert max(variances) < 2.2


@pytest.mark.parametrize("finish", ["prior", "measurement"])
def test_a_known_kernel_is_not_estimated(
    finish: str, sample: Sample, image: NDArray[np.uint8]
) -> None:
    reports: list[Progress] = []
    result = restore(image, kernel=sample.kernel, progress=reports.append, **options(finish))
    assert result.blur is None
    assert result.learned_priors == LEARNED[finish]
    assert "estimating the blur" not in [report.stage for report in reports]
    np.testing.assert_allclose(result.kernel, sample.kernel, atol=1e-5)
    plain = interpolate(sample.image, 4) / 255
    scores = [
        psnr_y(np.clip(picture, 0, 1), sample.truth, crop=4)
        for picture in (plain, result.image / 255)
    ]
    assert scores[1] > scores[0] + 0.5


def test_the_precision_reaches_the_kernel_estimator(image: NDArray[np.uint8]) -> None:
    means = []
    for precision in PRECISIONS[1:]:
        blur = restore(image[:32, :32], **options("measurement"), precision=precision).blur
        assert blur is not None
        assert blur.posterior is not None
        means.append(blur.posterior.mean)
    assert 0 < float((means[0] - means[1]).abs().max()) < 0.5


def test_an_estimated_kernel_restores_as_before(image: NDArray[np.uint8]) -> None:
    first = restore(image, scale=2)
    settings, known = make_settings(scale=2, kernel=first.kernel)

    def again(*, found: bool) -> NDArray[Any]:
        result = drained(iterate(image, settings, known_kernel=known, found=found))
        restored: NDArray[Any] = result.image
        return restored

    np.testing.assert_allclose(again(found=True), first.image, atol=0.05)
    np.testing.assert_array_equal(
        again(found=False), restore(image, scale=2, kernel=first.kernel).image
    )


def test_planes_with_an_estimated_kernel_are_restored_as_one_image(
    image: NDArray[np.uint8],
) -> None:
    settings, known = make_settings(scale=2, kernel=restore(image, scale=2).kernel)

    def stack(*, found: bool) -> NDArray[Any]:
        steps = iterate_stack(image[None], settings, axes="TYX", known_kernel=known, found=found)
        plane: NDArray[Any] = drained(steps).image[0]
        return plane

    single = drained(iterate(image, settings, known_kernel=known, found=True)).image
    np.testing.assert_array_equal(stack(found=True), single)


def test_a_known_kernel_restores_images_too_small_for_an_estimate(image: NDArray[np.uint8]) -> None:
    small = image[20:32, 20:35]
    with pytest.raises(InputError, match=r"12 × 15 pixels; expected at least 16 .* known kernel"):
        restore(small, **options("prior"))
    result = restore(small, kernel=np.ones((5, 5)), **options("prior"))
    assert result.image.shape == (48, 60)
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_a_kernel_that_reaches_beyond_the_image_is_refused(
    method: str, image: NDArray[np.uint8]
) -> None:
    with pytest.raises(InputError, match=r"a kernel of 41 × 41 expected at least 10 on each side"):
        restore(image[20:28, 20:28], scale=2, method=method, kernel=wide_kernel())
    with pytest.raises(InputError, match=r"a kernel of 41 × 41 expected at least 21 on each side"):
        restore(
            image[20:40, 20:40], scale=2, method=method, kernel=wide_kernel(), border="circular"
        )


def wide_kernel() -> NDArray[np.float64]:
    """Return a kernel of side 41, centred where scale 2 wants it."""
    place = np.arange(41) - 20.5
    line = np.exp(-(place**2) / 50)
    return np.outer(line, line)


def test_progress_has_the_stages(image: NDArray[np.uint8]) -> None:
    reports: list[Progress] = []
    restore(image, progress=reports.append, **options("prior"))
    assert [(report.step, report.stage) for report in reports] == [
        (0, "estimating the blur"),
        (1, "preparing the reconstruction"),
        (1, "reconstructing: image prior"),
    ]
    assert {report.total for report in reports} == {1}


def test_covered_pixels_take_some_rounds(sample: Sample, image: NDArray[np.uint8]) -> None:
    mask = np.zeros(image.shape)
    mask[10:14, 20:23] = 1
    result = restore(image, mask=mask, **options("prior"))
    assert result.trace.size > 1
    # Each round explains the measured pixels better.
    assert result.trace[-1] <= result.trace[0]
    assert np.isfinite(result.image).all()
    # A hole is filled in with what lies around it.
    hole = np.s_[40:56, 80:92]
    truth = sample.truth[hole].astype(float)
    error = np.abs(result.image[hole] - truth).mean()
    assert error < np.abs(truth - sample.truth.mean()).mean() / 2


@pytest.mark.parametrize("moment", ["estimating the blur", "fitting the measurement"])
def test_a_stop_keeps_what_there_is(moment: str, image: NDArray[np.uint8]) -> None:
    mask = np.zeros(image.shape)
    mask[10:14, 20:23] = 1
    seen: list[str] = []

    def stop(report: Progress) -> bool:
        seen.append(report.stage)
        return report.stage == moment

    result = restore(image, mask=mask, progress=stop, **options("measurement"))
    assert result.reason is StopReason.STOPPED
    assert seen == [*dict.fromkeys(["estimating the blur", moment]), seen[-1]]
    assert seen[-1].startswith("reconstructing: ")
    assert result.trace.size == (0 if moment == "estimating the blur" else 1)
    assert np.isfinite(result.image).all()


def test_a_sharp_image_has_a_flag(sample: Sample, image: NDArray[np.uint8]) -> None:
    chosen = options("measurement")
    assert not restore(image, **chosen).flags
    sharp = restore(sample.truth[:128, :128], **{**chosen, "scale": 1})
    assert "no_blur" in {flag.name for flag in sharp.flags}
    assert sharp.blur is not None
    assert not sharp.report()["blur"]["found"]
