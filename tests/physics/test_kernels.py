"""Every family against what a kernel has to be, and each against an independent drawing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1
from skimage.draw import disk as draw_disk
from skimage.transform import EuclideanTransform, warp
from torch import Tensor

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.physics.kernels import (
    FAMILIES,
    Airy,
    Automatic,
    Disk,
    Gaussian,
    KernelFamily,
    Line,
    Motion,
    base,
    kernel_size,
    render_disk,
    render_gaussian,
    render_line,
    side_for,
)
from napari_blindsr.physics.kernels.diffraction import render_airy
from napari_blindsr.physics.kernels.gaussian import gaussian_of
from napari_blindsr.physics.kernels.moments import log_covariance
from napari_blindsr.physics.kernels.random_paths import KernelSet, place, random_paths
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.types import GEOMETRIES, Geometry
from tests.helpers import golden

SCALES = (1, 2, 3, 4, 8)
WIDE: tuple[KernelFamily, ...] = (
    Gaussian(variance=(1.0, 60.0)),
    Disk(radius=(2.0, 14.0)),
    Line(half_length=(0.0, 13.0)),
    Motion(extent=(3.0, 14.0), persistence=0.05),
    Airy(numerical_aperture=1.3, refractive_index=1.515, pixel_size=65.0, defocus=(0.0, 100.0)),
)
"""Wider than the published kernels at any scale."""

VARIANTS: tuple[KernelFamily, ...] = (*(family() for family in FAMILIES), *WIDE)

families = st.sampled_from(VARIANTS)
scales = st.sampled_from(SCALES)
geometries = st.sampled_from(("camera", "benchmark"))
seeds = st.integers(0, 2**32)


def draw(
    family: KernelFamily, scale: int, geometry: Any = "benchmark", seed: int = 0, count: int = 3
) -> tuple[Tensor, float]:
    """Return kernels and the centre they were asked for."""
    size = family.size(scale)
    center = kernel_center(size, scale, geometry)
    generator = torch.Generator().manual_seed(seed)
    kernels = family.sample(count, scale=scale, size=size, center=center, generator=generator)
    return kernels, center


def centroids(kernels: Tensor) -> Tensor:
    axis = torch.arange(kernels.shape[-1], dtype=kernels.dtype)
    return torch.stack((kernels.sum(2) @ axis, kernels.sum(1) @ axis), dim=1)


@settings(max_examples=60, deadline=None)
@given(family=families, scale=scales, geometry=geometries, seed=seeds)
def test_kernels_are_normalised_and_centred(
    family: KernelFamily, scale: int, geometry: str, seed: int
) -> None:
    kernels, center = draw(family, scale, geometry, seed)
    size = family.size(scale)
    assert kernels.shape == (3, size, size)
    assert kernels.dtype == torch.float32
    assert bool(kernels.isfinite().all())
    assert float(kernels.min()) >= 0
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(3))
    error = (centroids(kernels) - center).abs().amax()
    if isinstance(family, Disk | Line | Motion):
        assert float(error) < 1e-3
    elif isinstance(family, Airy):
        # Its faint rings never end.
        assert float(error) < 0.2
    elif family not in (Gaussian(), Automatic()):
        # The published Gaussians are cut at the edge of their array.
        assert float(error) < 0.05


@pytest.mark.parametrize("family", VARIANTS, ids=repr)
def test_drawing_in_parts_changes_nothing(
    family: KernelFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = draw(family, 2, count=20)
    monkeypatch.setattr(base, "RENDERED", 7)
    parts, _ = draw(family, 2, count=20)
    torch.testing.assert_close(parts, whole)


@settings(max_examples=20, deadline=None)
@given(family=families, scale=scales, seed=seeds)
def test_draws_are_repeated_by_the_generator_alone(
    family: KernelFamily, scale: int, seed: int
) -> None:
    first, _ = draw(family, scale, seed=seed)
    torch.rand(1)
    second, _ = draw(family, scale, seed=seed)
    other, _ = draw(family, scale, seed=seed + 1)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("family", VARIANTS, ids=repr)
def test_a_batch_has_the_distribution_of_single_draws(family: KernelFamily) -> None:
    size = family.size(2)
    generator = torch.Generator().manual_seed(3)
    options: dict[str, Any] = {
        "scale": 2,
        "size": size,
        "center": size // 2 - 0.5,
        "generator": generator,
    }
    batch = family.sample(150, **options)
    singles = torch.cat([family.sample(1, **options) for _ in range(150)])
    assert not torch.equal(batch[0], batch[1])
    for statistic in (_width, _peak):
        mine, theirs = statistic(batch), statistic(singles)
        error = math.hypot(float(mine.std()), float(theirs.std())) / math.sqrt(150)
        assert abs(float(mine.mean() - theirs.mean())) < 4 * error + 1e-6


def _width(kernels: Tensor) -> Tensor:
    axis = torch.arange(kernels.shape[-1], dtype=kernels.dtype)
    middle = centroids(kernels)
    return (kernels.sum(2) * (axis - middle[:, :1]).square()).sum(1)


def _peak(kernels: Tensor) -> Tensor:
    return kernels.amax(dim=(1, 2))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("family", VARIANTS, ids=repr)
def test_the_side_holds_the_widest_kernels(family: KernelFamily, scale: int) -> None:
    size = family.size(scale)
    assert size % 2 == 1
    assert size >= kernel_size(scale)
    if family in (Gaussian(), Automatic()) and scale > 1:
        assert size == kernel_size(scale)
        return
    generator = torch.Generator().manual_seed(0)
    large = size + 40
    kernels = family.sample(
        40, scale=scale, size=large, center=large // 2 + (scale - 1) / 2, generator=generator
    )
    inside = kernels[:, 20:-20, 20:-20].sum(dim=(1, 2))
    assert float(inside.min()) > (0.85 if isinstance(family, Airy) else 0.98)


def test_sides_follow_the_rule_of_six_sigma() -> None:
    # K ≥ 6σ + s, odd.
    assert Gaussian(variance=(1.0, 36.0)).size(4) == 41
    assert Gaussian(variance=(0.5, 1.0)).size(4) == 19
    assert side_for(3.0, 1) == 7
    assert side_for(3.0, 2) == 9
    assert [kernel_size(scale) for scale in SCALES] == [7, 11, 15, 19, 21]


@pytest.mark.parametrize("family", VARIANTS, ids=repr)
def test_families_survive_json(family: KernelFamily) -> None:
    record = json.loads(json.dumps(family.to_json()))
    assert KernelFamily.from_json(record) == family


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        (Gaussian, {"variance": (4.0, 2.0)}, "variance is 4 to 2"),
        (Gaussian, {"variance": (0.0, 2.0)}, "above 0"),
        (Disk, {"radius": (-1.0, 2.0)}, "radius is -1 to 2"),
        (Line, {"half_length": (0.0, math.inf)}, "half_length"),
        (Motion, {"extent": (3.0, 1.0)}, "extent"),
        (Motion, {"persistence": 0.0}, "persistence is 0"),
        (Airy, {"wavelength": -1.0}, "wavelength is -1"),
        (Airy, {"numerical_aperture": 1.4}, "aperture below the index"),
        (Airy, {"defocus": (-1.0, 1.0)}, "defocus"),
    ],
)
def test_impossible_parameters_are_refused(
    family: type[KernelFamily], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        family(**parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_published_gaussians(scale: int) -> None:
    size = kernel_size(scale)
    parameters = torch.from_numpy(golden(f"gaussian_params_x{scale}"))
    # The published sampler misplaces the centre at ×8; the test data do not.
    for key, center in (("dataset", (size - scale) / 2), ("sampler", (scale + 1) * 1.5)):
        kernels = render_gaussian(parameters[:, :2], parameters[:, 2], size=size, center=center)
        expected = golden(f"gaussian_{key}_x{scale}")
        np.testing.assert_allclose(kernels.numpy(), expected, atol=2e-3)


def test_the_published_range_of_variances() -> None:
    # 0.175 s + 3 to min(2.5 s, 10) + 10, plus the s - 4 of the published sampler.
    for scale, low, high in ((2, 1.35, 13.0), (3, 2.525, 16.5), (4, 3.7, 20.0), (8, 8.4, 24.0)):
        assert Gaussian().variance_range(scale) == pytest.approx((low, high))


def test_ranges_of_the_other_families() -> None:
    assert [Disk().radius_range(scale) for scale in (1, 2, 4)] == [(1, 4), (1, 3), (1, 5)]
    assert [Motion().extent_range(scale) for scale in (1, 2, 4)] == [(1, 4), (1, 3), (2, 6)]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_published_discs(scale: int) -> None:
    size = kernel_size(scale)
    for radius, expected in zip(
        golden(f"disk_radius_x{scale}"), golden(f"disk_kernel_x{scale}"), strict=True
    ):
        axis = np.arange(size) - (size // 2 - 1)
        aliased = (axis[:, None] ** 2 + axis**2 < radius**2).astype(float)
        np.testing.assert_allclose(aliased / aliased.sum(), expected, atol=1e-7)
        # Ours differs only in pixels that the circle crosses.
        ours = render_disk(torch.tensor([radius]), size=size, center=size // 2 - 1)[0].numpy()
        distance = np.hypot(axis[:, None], axis)
        inside, outside = distance < radius - 0.75, distance > radius + 0.75
        assert np.all(ours[outside] == 0)
        if inside.any():
            assert np.ptp(ours[inside]) < 1e-6
            assert ours[inside].mean() == pytest.approx(1 / (math.pi * radius**2), rel=0.02)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_lines(scale: int) -> None:
    size = kernel_size(scale)
    length = torch.tensor([float(golden(f"line_length_x{scale}"))])
    pivot = (3 * scale + 3) / 2
    before = math.floor(pivot) - pivot
    for degrees, expected in zip(
        golden(f"line_theta_deg_x{scale}"), golden(f"line_kernel_x{scale}"), strict=True
    ):
        angle = math.radians(float(degrees))
        # The published bar is not centred on the point that it is turned about.
        row = pivot + before * (math.cos(angle) - math.sin(angle))
        column = pivot + before * (math.cos(angle) + math.sin(angle))
        kernel = render_line(length, torch.tensor([angle]), size=size, center=(row, column))
        np.testing.assert_allclose(kernel[0].numpy(), expected, atol=5e-3)


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.6, 5.0])
@pytest.mark.parametrize("center", [9.0, 7.5])
def test_discs_against_supersampling(radius: float, center: float) -> None:
    fine, size = 40, 19
    image = np.zeros((size * fine, size * fine))
    middle = (center + 0.5) * fine - 0.5
    image[draw_disk((middle, middle), radius * fine, shape=image.shape)] = 1
    expected = image.reshape(size, fine, size, fine).mean(axis=(1, 3))
    kernel = render_disk(torch.tensor([radius]), size=size, center=center)[0].numpy()
    np.testing.assert_allclose(
        kernel, expected / expected.sum(), atol=0.02 * expected.max() / expected.sum()
    )


@pytest.mark.parametrize("degrees", [0.0, 20.0, 45.0, 90.0, 137.0])
@pytest.mark.parametrize("center", [9.0, 7.5])
def test_lines_against_a_turned_image(degrees: float, center: float) -> None:
    bar = np.zeros((19, 19))
    bar[9, 5:14] = 1
    to_middle = EuclideanTransform(translation=(-center, -center))
    turn = EuclideanTransform(rotation=math.radians(degrees))
    back = EuclideanTransform(translation=(9, 9))
    expected = warp(bar, to_middle + turn + back, order=1)
    angle = torch.tensor([math.radians(degrees)])
    kernel = render_line(torch.tensor([4.0]), angle, size=19, center=(center, center))[0].numpy()
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-4)


def test_airy_pattern_against_its_closed_form() -> None:
    aperture, wavelength, pixel = 0.9, 500.0, 25.0
    kernel = render_airy(
        torch.zeros(1),
        numerical_aperture=aperture,
        wavelength=wavelength,
        refractive_index=1.33,
        pixel_size=pixel,
        footprint=1,
        size=41,
        center=20.0,
        oversampling=1,
    )[0].numpy()
    axis = np.arange(41) - 20
    v = 2 * np.pi / wavelength * aperture * pixel * np.hypot(axis[:, None], axis)
    v[20, 20] = 1e-9
    expected = (2 * j1(v) / v) ** 2
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=2e-3 * kernel.max())


def test_defocus_on_the_axis_against_its_closed_form() -> None:
    # In the paraxial limit the intensity on the axis is (sin(u/4)/(u/4))², u = k·z·NA²/n.
    aperture, wavelength = 0.2, 500.0
    defocus = torch.tensor([0.0, 6000.0, 9000.0, 15000.0])
    options: dict[str, Any] = {
        "numerical_aperture": aperture,
        "wavelength": wavelength,
        "refractive_index": 1.0,
        "pixel_size": 100.0,
        "footprint": 1,
        "size": 401,
        "center": 200.0,
        "oversampling": 1,
    }
    kernels = render_airy(defocus, **options)
    u = 2 * np.pi / wavelength * defocus.numpy() * aperture**2
    expected = np.sinc(u / 4 / np.pi) ** 2
    # Nearly all the light is in the array, so the sums are those of the same pupil.
    found = kernels[:, 200, 200] / kernels[0, 200, 200]
    np.testing.assert_allclose(found.numpy(), expected, atol=0.03)


def test_the_cameras_pixel_integrates_the_pattern() -> None:
    options: dict[str, Any] = {
        "numerical_aperture": 0.8,
        "wavelength": 520.0,
        "refractive_index": 1.0,
        "pixel_size": 40.0,
        "size": 31,
        "center": 15.0,
    }
    fine = render_airy(
        torch.zeros(1), footprint=1, oversampling=1, **(options | {"size": 37, "center": 18.0})
    )[0].numpy()
    window = np.ones(5) / 5
    # A pixel five wide, by the trapezoidal rule on a grid of one.
    blurred = np.apply_along_axis(np.convolve, 0, fine, window, mode="same")
    blurred = np.apply_along_axis(np.convolve, 1, blurred, window, mode="same")[3:-3, 3:-3]
    kernel = render_airy(torch.zeros(1), footprint=5, **options)[0].numpy()
    np.testing.assert_allclose(kernel, blurred / blurred.sum(), atol=0.01 * kernel.max())


def test_paths_are_smooth_and_of_the_extent_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    extents = torch.linspace(1, 9, 30)
    paths = random_paths(extents, persistence=0.2, generator=generator)
    torch.testing.assert_close(torch.linalg.vector_norm(paths, dim=1).amax(dim=1), extents)
    # Points lie close enough for a line without gaps.
    assert float(torch.linalg.vector_norm(paths.diff(dim=-1), dim=1).max()) < 0.6
    jagged = random_paths(extents, persistence=0.01, generator=generator)
    assert _turning(jagged) > 2 * _turning(paths)


def _turning(paths: Tensor) -> float:
    """Return the mean change of the direction between two points."""
    steps = paths.diff(dim=-1)
    angles = torch.atan2(steps[:, 0], steps[:, 1]).diff(dim=-1)
    return float(torch.atan2(angles.sin(), angles.cos()).abs().mean())


def test_given_kernels_are_drawn_and_centred() -> None:
    small = np.zeros((5, 5))
    small[1, 1:4] = 1, 2, 1
    large = np.zeros((9, 9))
    large[2:7, 6] = 3
    given_set = KernelSet.of([small, large])
    family = Motion(kernels=given_set)
    kernels, center = draw(family, 3, "camera", count=40)
    expected = place(given_set.tensor, size=family.size(3), center=center)
    matches = [[torch.allclose(kernel, e, atol=1e-6) for e in expected] for kernel in kernels]
    assert all(sum(row) == 1 for row in matches)
    assert {row.index(True) for row in matches} == {0, 1}
    # Moved by whole pixels, they keep their values.
    np.testing.assert_allclose(kernels.amax(dim=(1, 2)).unique(), [0.2, 0.5], atol=1e-6)
    assert KernelFamily.from_json(json.loads(json.dumps(family.to_json()))) == family


def test_wide_given_kernels_widen_the_side() -> None:
    wide = np.ones((45, 45))
    assert Motion(kernels=KernelSet.of([wide])).size(4) >= 45 + 3
    narrow = np.zeros((45, 45))
    narrow[30, 30] = 1
    assert Motion(kernels=KernelSet.of([narrow])).size(4) == kernel_size(4)


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ([], "no kernels"),
        ([np.ones((3, 4))], "3 × 4"),
        ([np.ones((3, 3)), -np.ones((3, 3))], "kernel 1 has sum -9"),
        ([np.full((3, 3), np.nan)], "finite"),
    ],
)
def test_impossible_given_kernels_are_refused(kernels: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KernelSet.of(kernels)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_gaussian_that_was_read_reaches_as_far_on_either_side(
    scale: int, geometry: Geometry
) -> None:
    logarithm = log_covariance(torch.tensor([[[0.9, 0.3], [0.3, 0.6]]]).double())[0]
    kernel = gaussian_of(Gaussian(), logarithm, scale=scale, geometry=geometry).astype(float)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    # About its centre, which may lie between pixels, it is its own point reflection.
    size, center = len(kernel), kernel_center(len(kernel), scale, geometry)
    places = np.argwhere(kernel > 0)
    mirrored = np.rint(2 * center - places).astype(int)
    assert mirrored.min() >= 0
    assert mirrored.max() < size
    np.testing.assert_allclose(
        kernel[tuple(mirrored.T)], kernel[tuple(places.T)], rtol=1e-3, atol=1e-9
    )


def test_automatic_takes_another_family_only_where_it_is_clear() -> None:
    auto = Automatic(variance=(1.0, 4.0))
    usual = Gaussian(variance=(1.0, 4.0))
    assert auto.chosen({}) == usual
    assert auto.chosen({"gaussian": 0.41, "line": 0.59}) == usual
    assert auto.chosen({"gaussian": 0.9, "line": 0.1}) == usual
    assert auto.chosen({"gaussian": 0.39, "line": 0.61}) == Line()
    assert auto.chosen({"disk": 0.8, "line": 0.2}) == Disk()
    # A family that this version does not know.
    assert auto.chosen({"sinc": 1.0}) == usual
