"""Estimating the blur of an image: `estimate_kernel`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

import napari_blindsr
from napari_blindsr import restore
from napari_blindsr.errors import BlindSRError, DeviceError, InputError, SettingsError
from napari_blindsr.estimation import estimate as estimate_module
from napari_blindsr.estimation import posterior
from napari_blindsr.estimation.estimate import (
    READERS,
    SMALLEST_SIDE,
    BlurEstimate,
    Reader,
    estimate_kernel,
)
from napari_blindsr.estimation.network import FAMILY_ORDER
from napari_blindsr.estimation.posterior import BlurPosterior, candidate_weights
from napari_blindsr.evaluation.samples import photograph
from napari_blindsr.metrics import psnr_y
from napari_blindsr.physics.kernels import (
    FAMILIES,
    Automatic,
    Gaussian,
    KernelFamily,
    Line,
    Motion,
    render_gaussian,
    side_for,
)
from napari_blindsr.physics.kernels.moments import core_covariance, log_covariance
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel
from napari_blindsr.types import GEOMETRIES, SCALES, Border, Geometry

SHARP = photograph().truth


def blurred(
    widths: tuple[float, float],
    *,
    scale: int,
    angle: float = 0.6,
    sharp: NDArray[Any] = SHARP,
    border: Border = "extend",
    noise: float = 0.002,
) -> NDArray[np.float32]:
    """Return an image blurred by a Gaussian of these standard deviations in fine pixels."""
    kernel = gaussian_kernel(
        (widths[0] ** 2, widths[1] ** 2),
        angle,
        scale=scale,
        size=side_for(4 * max(widths), scale),
    )
    degraded = degrade(sharp, kernel, Degradation(scale=scale, border=border, noise=noise))
    return np.asarray(degraded.image, dtype=np.float32)


def natural(side: int, seed: int) -> NDArray[np.float64]:
    """Return a periodic random picture whose power falls as 1/f², from 0 to 1."""
    axis = np.fft.fftfreq(side)
    frequency = np.hypot(axis[:, None], axis[None, :])
    frequency[0, 0] = 1
    noise = np.random.default_rng(seed).standard_normal((side, side))
    picture = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    return np.asarray((picture - picture.min()) / np.ptp(picture))


def blocks(seed: int) -> NDArray[np.float64]:
    """Return squares of random grey levels, as sharp as an image can be."""
    grey = np.random.default_rng(seed).random((16, 16))
    return np.asarray(np.kron(grey, np.ones((6, 6))), dtype=np.float64)


def covariance(estimate: BlurEstimate) -> NDArray[np.float64]:
    """Return the covariance (2, 2) that widths and angle stand for, rows before columns."""
    cos, sin = math.cos(estimate.angle), math.sin(estimate.angle)
    axes = np.array([[sin, cos], [cos, -sin]])
    return np.asarray(axes @ np.diag(np.square(estimate.widths)) @ axes.T, dtype=np.float64)


def core(kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the covariance (2, 2) of the core of a kernel."""
    found: NDArray[np.float64] = core_covariance(torch.from_numpy(kernel)[None].double())[0].numpy()
    return found


def test_it_is_public_and_loads_on_first_use() -> None:
    assert napari_blindsr.estimate_kernel is estimate_kernel
    assert napari_blindsr.BlurEstimate is BlurEstimate
    assert {"estimate_kernel", "BlurEstimate"} <= set(napari_blindsr.__all__)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_every_family_at_every_scale(
    family: type[KernelFamily], scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posterior, "CANDIDATES", 64)
    geometry: Geometry = GEOMETRIES[scale % len(GEOMETRIES)]
    estimate = estimate_kernel(
        SHARP[:40, :42], scale=scale, kernel=family(), geometry=geometry, device="cpu"
    )
    kernel = estimate.kernel
    assert kernel.dtype == np.float32
    assert kernel.shape == (len(kernel), len(kernel))
    assert len(kernel) % 2 == 1
    assert len(kernel) >= family().size(scale)
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    center = kernel_center(len(kernel), scale, geometry)
    axis = np.arange(len(kernel))
    assert kernel.sum(axis=1) @ axis == pytest.approx(center, abs=0.3)
    assert kernel.sum(axis=0) @ axis == pytest.approx(center, abs=0.3)
    expected = "gaussian" if family is Automatic else family.name
    assert (estimate.family, estimate.scale, estimate.reader) == (expected, scale, "network")
    assert estimate.widths[0] >= estimate.widths[1] > 0
    for width, (low, high) in zip(estimate.widths, estimate.intervals, strict=True):
        assert low < width < high
    assert 0 <= estimate.angle < math.pi
    assert tuple(estimate.families) == FAMILY_ORDER
    assert sum(estimate.families.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("reader", READERS)
def test_a_gaussian_has_the_estimated_widths(reader: Reader) -> None:
    estimate = estimate_kernel(
        blurred((4, 2.5), scale=3), scale=3, reader=reader, geometry="benchmark", device="cpu"
    )
    # The network decides on another kernel than it reads.
    found, expected = core(estimate.kernel), covariance(estimate)
    wide, narrow = estimate.careful_widths
    if reader == "spectrum":
        assert estimate.careful_widths == estimate.widths
        np.testing.assert_allclose(found, expected, atol=0.02 * np.trace(expected))
    values = np.sqrt(np.linalg.eigvalsh(found))
    np.testing.assert_allclose(values, (narrow, wide), rtol=0.03)


@pytest.mark.parametrize("low", [0.5, 30.0])
def test_a_gaussian_keeps_within_a_given_range(low: float) -> None:
    image = blurred((3, 2), scale=2)
    family = Gaussian(variance=(low, 1.2 * low))
    kernel = estimate_kernel(image, scale=2, kernel=family, device="cpu").kernel
    values = np.linalg.eigvalsh(core(kernel))
    assert 0.9 * low < values[0] <= values[1] < 1.3 * low


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_wider_blur_is_read_as_wider(reader: Reader, scale: int) -> None:
    read = [
        estimate_kernel(
            blurred((factor * scale, 0.7 * factor * scale), scale=scale),
            scale=scale,
            reader=reader,
            device="cpu",
        )
        for factor in (0.6, 1.1, 1.8)
    ]
    for axis in (0, 1):
        widths = [estimate.widths[axis] for estimate in read]
        assert widths == sorted(widths)
        assert widths[2] > 1.4 * widths[0]
    assert read[1].found
    assert read[2].found


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_wider_blur_gives_a_wider_kernel_of_each_family(family: type[KernelFamily]) -> None:
    narrow, wide = (
        core(
            estimate_kernel(
                blurred((width, width), scale=2), scale=2, kernel=family(), device="cpu"
            ).kernel
        )
        for width in (0.9, 2.5)
    )
    assert np.trace(wide) > 1.1 * np.trace(narrow)


@pytest.mark.parametrize("name", ["camera", "coins"])
def test_no_blur_is_found_where_there_is_none(name: str) -> None:
    sharp = getattr(data, name)()[100:228, 100:228] / 255
    assert not estimate_kernel(sharp, scale=1, device="cpu").found
    soft = blurred((1.5, 1.5), scale=1, sharp=sharp)
    assert estimate_kernel(soft, scale=1, device="cpu").found


@pytest.mark.parametrize("seed", range(4))
def test_of_mere_blocks_little_is_known(seed: int) -> None:
    found = estimate_kernel(blocks(seed), scale=1, device="cpu")
    assert found.intervals[0][0] < 0.55


@pytest.mark.parametrize("reader", READERS)
@given(value=st.floats(width=32), seed=st.integers(0, 9))
@settings(max_examples=4, deadline=None)
def test_what_lies_under_a_mask_has_no_influence(reader: Reader, value: float, seed: int) -> None:
    image = blurred((2, 1.5), scale=2)[:48, :50]
    random = np.random.default_rng(seed)
    mask = np.zeros(image.shape, dtype=np.uint8)
    row, column = random.integers(0, 36, 2)
    mask[row : row + 9, column : column + 11] = 3
    other = np.where(mask > 0, np.float32(value), image)
    first, second = (
        estimate_kernel(array, scale=2, reader=reader, mask=mask, device="cpu")
        for array in (image, other)
    )
    np.testing.assert_array_equal(first.kernel, second.kernel)
    assert first.report() == second.report()


def test_what_is_not_finite_is_left_out_and_costs_little() -> None:
    image = blurred((3, 2), scale=2)
    mask = np.zeros(image.shape, dtype=bool)
    mask[20:32, 40:50] = True
    mask[70, 5:60] = True
    holes = np.where(mask, np.float32(np.nan), image)
    holes[70, 30:60] = -np.inf
    covered = estimate_kernel(image, scale=2, mask=mask, device="cpu")
    assert estimate_kernel(holes, scale=2, device="cpu").report() == covered.report()
    whole = estimate_kernel(image, scale=2, device="cpu")
    np.testing.assert_allclose(covered.widths, whole.widths, rtol=0.25)


@given(
    narrow=st.floats(0.6, 1.0),
    ratio=st.floats(1.3, 2.0),
    angle=st.floats(0, math.pi),
    scale=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 99),
)
@settings(max_examples=8, deadline=None)
def test_the_spectrum_of_a_natural_picture_gives_its_gaussian(
    narrow: float, ratio: float, angle: float, scale: int, seed: int
) -> None:
    widths = (narrow * ratio * scale, narrow * scale)
    image = blurred(
        widths, scale=scale, angle=angle, sharp=natural(72 * scale, seed), border="circular"
    )
    estimate = estimate_kernel(image, scale=scale, reader="spectrum", border="circular")
    np.testing.assert_allclose(estimate.widths, widths, rtol=0.15)
    turned = (estimate.angle - angle + math.pi / 2) % math.pi - math.pi / 2
    assert abs(turned) < 0.3


TURNS: dict[str, tuple[Callable[[Any], NDArray[Any]], NDArray[Any]]] = {
    "rows flipped": (lambda image: image[::-1], np.array([[-1, 0], [0, 1]])),
    "columns flipped": (lambda image: image[:, ::-1], np.array([[1, 0], [0, -1]])),
    "transposed": (np.transpose, np.array([[0, 1], [1, 0]])),
    "turned": (np.rot90, np.array([[0, -1], [1, 0]])),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("turn", TURNS)
def test_the_kernel_turns_with_the_image(turn: str, reader: Reader) -> None:
    change, matrix = TURNS[turn]
    image = blurred((3, 1.2), scale=1, angle=0.35)[:64, :72]
    options: dict[str, Any] = {"reader": reader, "geometry": "benchmark", "device": "cpu"}
    plain = estimate_kernel(image, scale=1, **options)
    turned = estimate_kernel(change(image), scale=1, **options)
    left = np.abs(turned.kernel - change(plain.kernel)).max()
    # Not by chance: the kernel itself is no symmetric one.
    assert left < 0.1 * np.abs(change(plain.kernel) - plain.kernel).max()
    expected = matrix @ covariance(plain) @ matrix.T
    np.testing.assert_allclose(covariance(turned), expected, rtol=0.02, atol=0.02)


def test_channels_are_read_together() -> None:
    grey = blurred((3, 2), scale=2)[:64, :64]
    colour = np.stack([grey, 1 - grey, 0.5 * grey], axis=-1)
    last = estimate_kernel(colour, scale=2, device="cpu")
    first = estimate_kernel(np.moveaxis(colour, -1, 0), scale=2, axes="CYX", device="cpu")
    assert last.report() == first.report()
    alone = estimate_kernel(grey, scale=2, device="cpu")
    np.testing.assert_allclose(last.widths, alone.widths, rtol=0.3)


@given(gain=st.floats(1e-3, 1e4), offset=st.floats(-100, 100))
@settings(max_examples=8, deadline=None)
def test_the_unit_of_the_intensities_does_not_matter(gain: float, offset: float) -> None:
    # On a background that is larger single precision does not tell values apart: that is refused.
    assume(abs(offset) < 1000 * gain)
    image = blurred((3, 2), scale=2)[:40, :40].astype(np.float64)
    plain = estimate_kernel(image, scale=2, device="cpu")
    other = estimate_kernel(gain * image + offset, scale=2, device="cpu")
    np.testing.assert_allclose(other.widths, plain.widths, rtol=0.03)


def test_the_seed_repeats_drawn_kernels() -> None:
    image = SHARP[:40, :42]
    one, same, other = (
        estimate_kernel(image, scale=2, kernel=Motion(), seed=seed, device="cpu").kernel
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


@pytest.mark.parametrize("deviation", [0.2, math.nan])
def test_candidates_count_by_their_distance(deviation: float) -> None:
    variances = torch.tensor([[2.0, 2.0], [8.0, 3.0], [3.0, 8.0], [8.0, 8.0]])
    kernels = render_gaussian(variances, torch.zeros(4), size=25, center=12)
    posterior = BlurPosterior(
        mean=log_covariance(torch.diag(torch.tensor([3.0, 8.0])) / 4),
        deviation=torch.full((3,), deviation),
        families=torch.empty(0),
    )
    weights = candidate_weights(kernels, posterior, scale=2)
    assert float(weights.sum()) == pytest.approx(1)
    # The first axis of a Gaussian at angle 0 lies along the columns.
    assert int(weights.argmax()) == 1
    assert float(weights[1]) > 0.9


@pytest.mark.parametrize("reader", READERS)
def test_the_report_is_plain_json(reader: Reader) -> None:
    estimate = estimate_kernel(SHARP[:40, :42], scale=2, reader=reader, device="cpu")
    record = json.loads(json.dumps(estimate.report(), allow_nan=False))
    assert record["widths"] == list(estimate.widths)
    assert record["reader"] == reader
    if reader == "network":
        assert record["intervals"] == [list(pair) for pair in estimate.intervals]
        assert record["families"] == estimate.families
    else:
        assert record["intervals"] is None
        assert record["families"] == {}
        assert np.isnan(estimate.intervals).all()


PICTURE = SHARP[:40, :42]
BAD: dict[str, tuple[type[BlindSRError], str, dict[str, Any]]] = {
    "scale 0": (SettingsError, "scale is 0; expected a whole number from 1 to 8", {"scale": 0}),
    "scale 9": (SettingsError, "scale is 9", {"scale": 9}),
    "scale 2.0": (SettingsError, r"scale is 2\.0", {"scale": 2.0}),
    "kernel": (SettingsError, "kernel is 'box'; expected one of", {"kernel": "box"}),
    "known": (SettingsError, "kernel is 'known'; expected one of", {"kernel": "known"}),
    "array": (SettingsError, "kernel is a ndarray; expected", {"kernel": np.ones((3, 3))}),
    "reader": (SettingsError, "reader is 'eye'; expected one of", {"reader": "eye"}),
    "geometry": (SettingsError, "geometry is 'round'", {"geometry": "round"}),
    "border": (SettingsError, "border is 'mirror'", {"border": "mirror"}),
    "seed": (SettingsError, "seed is -1", {"seed": -1}),
    "device": (DeviceError, "device is 'tpu'", {"device": "tpu"}),
    "device unused": (DeviceError, "'tpu'", {"device": "tpu", "reader": "spectrum"}),
    "axes": (InputError, "axes are 'XY'", {"axes": "XY"}),
    "mask size": (InputError, r"mask is 3 × 3; expected 40 × 42", {"mask": np.ones((3, 3))}),
    "mask all": (InputError, "covers the whole image", {"mask": np.ones((40, 42))}),
    "constant": (InputError, "constant", {"image": np.ones((40, 40))}),
    "flat": (InputError, "expected a grey image", {"image": np.arange(40.0)}),
    "stack": (InputError, "expected a grey image", {"image": np.ones((2, 40, 40))}),
    "complex": (InputError, "values of type complex128", {"image": PICTURE * 1j}),
    "empty": (InputError, "empty", {"image": np.ones((0, 40))}),
    "nan": (InputError, "no valid pixels", {"image": np.full((40, 40), np.nan)}),
    "small": (
        InputError,
        f"{SMALLEST_SIDE - 1} × 42 pixels; expected at least {SMALLEST_SIDE}",
        {"image": PICTURE[: SMALLEST_SIDE - 1]},
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_before_the_work(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, message, given_values = BAD[case]

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(estimate_module, "load_kernel_estimator", work)
    monkeypatch.setattr(estimate_module, "spectral_covariance", work)
    monkeypatch.setattr(estimate_module, "inpaint_biharmonic", work)
    values: dict[str, Any] = {"image": PICTURE, "scale": 2, **given_values}
    with pytest.raises(kind, match=message):
        estimate_kernel(values.pop("image"), **values)


def test_the_smallest_image_has_an_estimate() -> None:
    image = SHARP[:SMALLEST_SIDE, 40 : 40 + SMALLEST_SIDE]
    for reader in READERS:
        estimate = estimate_kernel(image, scale=8, reader=reader, device="cpu")
        assert np.isfinite(estimate.kernel).all()


def test_motion_along_a_line_is_found_out() -> None:
    size = Line().size(2)
    kernel = Line(half_length=(3.0, 3.0)).sample(
        1, scale=2, size=size, center=kernel_center(size, 2, "camera"),
        generator=torch.Generator().manual_seed(1),
    )[0].numpy()  # fmt: skip
    moved = degrade(data.coins()[:256, :256], kernel, Degradation(scale=2, quantise=True))
    found = estimate_kernel(moved.image, scale=2, device="cpu")
    assert found.family == "line"
    given_line = estimate_kernel(moved.image, scale=2, kernel="line", device="cpu")
    np.testing.assert_array_equal(found.kernel, given_line.kernel)
    # The spectrum alone knows nothing of families.
    usual = estimate_kernel(moved.image, scale=2, reader="spectrum", device="cpu")
    assert usual.family == "gaussian"
    automatic, gaussian = (
        restore(moved.image, scale=2, kernel=kernel, device="cpu", threads=1).image / 255
        for kernel in ("auto", "gaussian")
    )
    # Its length is estimated, too.
    gain = psnr_y(automatic, moved.truth, crop=6) - psnr_y(gaussian, moved.truth, crop=6)
    assert gain > 1
