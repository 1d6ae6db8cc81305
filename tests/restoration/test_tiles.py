"""Tiles: geometry, stitching, and results equal to those of the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_blindsr import restore
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images.tiling import (
    BLEND,
    GRID,
    Box,
    Mosaic,
    context_for,
    most_detailed,
    plan_parts,
    tile_side,
)
from napari_blindsr.methods import Schedule
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.progress import StopReason
from napari_blindsr.solvers.nonblind import restorers
from napari_blindsr.solvers.nonblind.sparse import sparse

SCALE = 2


def cells(side: int = 320, *, seed: int = 3) -> NDArray[Any]:
    """Return simulated cells (side, side), blurred by binning alone, with noise."""
    photons = fluorescent_cells((side, side), seed=seed)
    return Camera().expose(photons, seed=seed)


@given(
    height=st.integers(40, 400),
    width=st.integers(40, 400),
    scale=st.integers(1, 8),
    tile=st.integers(128, 700),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_parts_cover_the_region_and_see_their_surroundings(
    height: int, width: int, scale: int, tile: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, height - 20)), data.draw(st.integers(0, width - 20))
    region = Box(
        top=top,
        left=left,
        bottom=data.draw(st.integers(top + 16, height)),
        right=data.draw(st.integers(left + 16, width)),
    )
    context = context_for(21, scale)
    rows = plan_parts((height, width), scale=scale, region=region, tile=tile, context=context)
    count = np.zeros((height, width), dtype=int)
    for line in rows:
        for part in line:
            count[part.kept.slices] += 1
            assert max(part.kept.shape) * scale <= tile + 2 * BLEND + 2 * scale
            wide = part.kept.grown(context, (height, width))
            assert part.seen.top <= wide.top
            assert part.seen.right >= wide.right
            # The coarsest grid lies in it as in the whole.
            assert part.seen.top % GRID == part.seen.left % GRID == 0
            assert (height - part.seen.bottom) % GRID == (width - part.seen.right) % GRID == 0
    inside = np.zeros_like(count, dtype=bool)
    inside[region.slices] = True
    assert (count[inside] > 0).all()
    assert (count[~inside] == 0).all()


@given(scale=st.integers(1, 8), tile=st.integers(128, 400), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_joined_parts_of_an_image_are_the_image(scale: int, tile: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(30, 150)), int(rng.integers(30, 150))
    rows = plan_parts(shape, scale=scale, region=Box.whole(shape), tile=tile, context=5)
    image = rng.random((scale * shape[0], scale * shape[1], 2))
    target = np.full_like(image, np.nan)
    mosaic = Mosaic(rows, scale=scale, target=target)
    for row, line in enumerate(rows):
        for column, part in enumerate(line):
            mosaic.add(row, column, image[part.kept.scaled(scale).slices])
    np.testing.assert_allclose(target, image, atol=1e-12)


def test_rows_are_handed_on_as_soon_as_they_are_complete() -> None:
    shape = (100, 60)
    rows = plan_parts(shape, scale=4, region=Box.whole(shape), tile=128, context=5)
    seen: list[slice] = []

    class Target:
        def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any]) -> None:
            seen.append(index[0])

    mosaic = Mosaic(rows, scale=4, target=Target())
    for row, line in enumerate(rows):
        for column, part in enumerate(line):
            mosaic.add(row, column, np.zeros(part.kept.scaled(4).shape))
        assert len(seen) == row + 1
    assert [s.start for s in seen] == [0, *(s.stop for s in seen[:-1])]
    assert seen[-1].stop == 400


@pytest.mark.parametrize(
    ("result", "tile", "side"),
    [
        ((2048, 2048), "auto", None),
        ((2048, 2049), "auto", 1536),
        ((9000, 9000), None, None),
        ((300, 300), 512, None),
        ((300, 600), 512, 512),
    ],
)
def test_tiles_are_made_where_they_are_needed(
    result: tuple[int, int], tile: Any, side: int | None
) -> None:
    assert tile_side(result, tile) == side


def test_the_most_detailed_part_is_found() -> None:
    planes = np.zeros((1, 200, 300), dtype=np.float32)
    planes[:, 120:150, 210:240] = np.random.default_rng(0).random((1, 30, 30))
    box = most_detailed(planes, 80)
    assert box.shape == (80, 80)
    assert planes[(..., *box.slices)].any()


def seam_and_inside(difference: NDArray[Any], edges: list[int]) -> tuple[float, float]:
    """Return the root mean square in bands around the edges of tiles, and elsewhere."""
    band = np.zeros(difference.shape, dtype=bool)
    for edge in edges:
        band[edge - BLEND // 2 : edge + BLEND // 2] = True
        band[:, edge - BLEND // 2 : edge + BLEND // 2] = True
    square = difference.astype(float) ** 2
    return float(np.sqrt(square[band].mean())), float(np.sqrt(square[~band].mean()))


@pytest.mark.parametrize("finish_name", ["prior", "measurement"])
def test_tiles_leave_no_seams(finish_name: Any) -> None:
    image = cells(256)
    whole = restore(image, scale=SCALE, tile=None, finish=finish_name)
    tiled = restore(image, scale=SCALE, tile=256, finish=finish_name)
    assert (whole.tiles, tiled.tiles) == (1, 4)
    np.testing.assert_array_equal(whole.kernel, tiled.kernel)
    spread = float(whole.image.std())
    seam, inside = seam_and_inside((tiled.image - whole.image) / spread, [256])
    # bfloat16 alone makes for some thousandths.
    assert seam < max(1.2 * inside, 0.01)
    np.testing.assert_allclose(tiled.support, whole.support, atol=1e-5)


def test_tiles_of_a_periodic_colour_image_with_a_mask() -> None:
    rng = np.random.default_rng(0)
    image = np.stack([cells(160, seed=seed) for seed in range(3)], axis=-1)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[40:43, 60:63] = mask[100:104, 150:153] = True
    image[mask] = rng.integers(0, 1000, (int(mask.sum()), 3))
    kernel = np.full((5, 5), 1 / 25)
    both = [
        restore(
            image,
            scale=SCALE,
            kernel=kernel,
            geometry="benchmark",
            border="circular",
            mask=mask,
            finish="measurement",
            tile=tile,
        )
        for tile in (None, 256)
    ]
    assert both[1].tiles == 4
    assert both[0].covered is not None
    assert both[1].covered is not None
    np.testing.assert_array_equal(both[0].covered, both[1].covered)
    difference = np.abs(both[0].image - both[1].image) / both[0].image.std()
    # Parts see their surroundings across the border, too.
    assert float(np.median(difference)) < 0.01
    assert float(difference[:, :8].mean()) < 0.03


@pytest.mark.parametrize("axes", ["YX", "YXC", "CYX"])
def test_a_region_is_restored_as_in_the_whole(axes: str) -> None:
    image: NDArray[Any] = cells(160)
    if axes != "YX":
        image = np.stack([image, image[::-1], image.T], axis=axes.index("C"))
    kernel = np.full((5, 5), 1 / 25)
    whole = restore(image, scale=SCALE, axes=axes, kernel=kernel, finish="measurement")
    rows, columns = slice(40, 96), slice(64, 130)
    part = restore(
        image,
        scale=SCALE,
        axes=axes,
        kernel=kernel,
        finish="measurement",
        region=(rows, columns),
    )
    assert part.region == Box(top=40, left=64, bottom=96, right=130)
    cut: list[slice] = [slice(None)] * image.ndim
    cut[axes.index("Y")], cut[axes.index("X")] = slice(80, 192), slice(128, 260)
    expected = whole.image[tuple(cut)]
    assert part.image.shape == expected.shape
    # Range and noise are those of what is looked at.
    difference = np.abs(part.image - expected) / whole.image.std()
    assert float(np.median(difference)) < 0.02
    assert part.report()["region"] == [40, 64, 96, 130]


def test_only_the_input_region_is_read() -> None:
    image = cells(512).astype(np.float32)
    image[:200] = np.nan
    image[:, :200] = np.nan
    found = restore(image, scale=SCALE, region=(slice(350, 400), slice(350, 420)))
    assert np.isfinite(found.image).all()
    assert found.covered is None


def test_bounds_of_a_region_may_be_left_open() -> None:
    image = cells(64)
    found = restore(image, scale=1, region=(slice(None), slice(32, None)))
    assert found.image.shape == (64, 32)


@pytest.mark.parametrize(
    "region",
    [
        (slice(10, 70), slice(0, 20)),
        (slice(10, 10), slice(0, 20)),
        (slice(-4, 10), slice(0, 20)),
        (slice(0, 20, 2), slice(0, 20)),
    ],
)
def test_regions_outside_the_image_are_refused(region: tuple[slice, slice]) -> None:
    with pytest.raises(InputError, match="region"):
        restore(cells(64), scale=SCALE, region=region)


def test_methods_that_make_images_in_one_go_say_so_before_any_work() -> None:
    with pytest.raises(SettingsError, match="finish='prior'"):
        restore(cells(256), scale=SCALE, method="mlmc", tile=256)
    with pytest.raises(SettingsError, match="tile is 100"):
        restore(cells(64), scale=SCALE, tile=100)


def test_an_optimisation_finds_the_kernel_of_tiles_on_a_part() -> None:
    image = cells(192)
    schedule = Schedule(image_steps=2, inner_steps=1, warmup_steps=2, channels=8)
    found = restore(image, scale=SCALE, method="mlmc", finish="prior", schedule=schedule, tile=256)
    assert found.tiles == 4
    assert found.trace.size > 0 or found.reason == StopReason.COMPLETED
    assert any("most detail" in note for note in found.notes)
    # A kernel of two steps is far too wide, and the finish takes it at its word: details are
    # wrong, but it is the same picture.
    plain = np.asarray(interpolate(image, SCALE, geometry="camera", border="extend"), dtype=float)
    coarse = [gaussian_filter(one.astype(float), 4).ravel() for one in (found.image, plain)]
    assert np.corrcoef(*coarse)[0, 1] > 0.9


def test_a_run_that_is_stopped_says_which_tiles_are_missing() -> None:
    image = cells(256)
    found = restore(
        image,
        scale=SCALE,
        kernel=np.full((5, 5), 1 / 25),
        finish="measurement",
        tile=256,
        progress=lambda progress: progress.unit == "tile",
    )
    assert found.reason == StopReason.STOPPED
    assert any("1 of 4 tiles" in note for note in found.notes)
    assert np.isfinite(found.image[:200, :200]).all()
    assert np.isnan(found.image[300:, 300:]).all()


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError("can't allocate memory")],
)
def test_short_memory_is_met_with_smaller_tiles(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cells(256)

    def greedy(observation: Any, *arguments: Any, **options: Any) -> Any:
        if observation.data.shape[-1] >= 256:
            raise error
        return sparse(observation, *arguments, **options)

    monkeypatch.setattr(restorers, "sparse", greedy)
    found = restore(image, scale=SCALE, kernel=np.full((5, 5), 1 / 25), finish="measurement")
    assert any("memory was short" in note for note in found.notes)
    assert np.isfinite(found.image).all()
    assert found.tiles == 4
