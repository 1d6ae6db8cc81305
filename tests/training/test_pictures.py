"""What is trained on: generated pictures, nine photographs, and what a folder holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data, io

from training import pictures
from training.micrographs import STRUCTURES, micrograph
from training.pages import page
from training.pictures import (
    LONGEST_SIDE,
    PHOTOGRAPHS,
    SIZES,
    SMALLEST_SIDE,
    dead_leaves,
    generated,
    photographs,
    photographs_of,
    picture_bank,
)

ALLOWED = {
    "astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket",
    "stereo_motorcycle",
}  # fmt: skip


@pytest.mark.parametrize("draw", [dead_leaves, micrograph, page])
def test_pictures_are_seeded_and_in_range(
    draw: Callable[[int, np.random.Generator], NDArray[np.uint8]],
) -> None:
    for seed in range(4):
        first, second = (draw(96, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        other = draw(96, np.random.default_rng(seed + 100))
        assert not np.array_equal(first, other)
        assert first.dtype == np.uint8
        assert first.shape == (96, 96, 3)
        # There is something to see.
        assert len(np.unique(first)) > 10


def test_micrographs_are_grey_and_reach_the_top() -> None:
    for seed in range(8):
        image = micrograph(128, np.random.default_rng(seed))
        assert (image == image[..., :1]).all()
        assert image.max() == 255
        assert image.min() < 64


@pytest.mark.parametrize("draw", STRUCTURES)
def test_structures_are_finite_and_of_their_size(draw: Any) -> None:
    for seed in range(4):
        image = draw(64, np.random.default_rng(seed))
        assert image.shape == (64, 64)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() > 0


class _Record:
    """Stands for `skimage.data`: notes what is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(data, name)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> _Record:
    asked = _Record()
    monkeypatch.setattr(pictures, "data", asked)
    return asked


def test_the_nine_photographs_are_the_only_ones(record: _Record) -> None:
    bank = picture_bank(leaves=1, micrographs=1, seed=0, side=32)
    assert set(PHOTOGRAPHS) == ALLOWED == record.asked
    assert [len(bank[0]), len(bank[2])] == [1, 1]
    assert len(bank[1]) >= len(PHOTOGRAPHS)
    for picture in bank[1]:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert min(picture.shape[:2]) >= SMALLEST_SIDE


def test_generated_pictures_need_no_photograph(record: _Record) -> None:
    leaves, micrographs = generated(2, 1, np.random.default_rng(0), side=32)
    assert [len(leaves), len(micrographs)] == [2, 1]
    assert not record.asked


def test_a_bank_is_seeded() -> None:
    first, second, other = (
        picture_bank(leaves=1, micrographs=1, seed=seed, side=48) for seed in (3, 3, 4)
    )
    for kind in (0, 2):
        np.testing.assert_array_equal(first[kind][0], second[kind][0])
        assert not np.array_equal(first[kind][0], other[kind][0])


def test_photographs_come_in_sizes_of_which_the_smaller_are_sharper() -> None:
    steps: dict[int, float] = {}
    # Astronaut's own size comes first, then its smaller ones.
    for picture in itertools.islice(photographs(seed=1), 1 + SIZES):
        steps[len(picture)] = float(np.abs(np.diff(picture.astype(float), axis=1)).mean())
    assert len(steps) == 1 + SIZES
    assert max(steps) == 512
    assert steps[min(steps)] > 1.2 * steps[512]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a large colour photograph, a small grey one, and something else."""
    coffee = data.coffee()
    io.imsave(tmp_path / "large.png", np.tile(coffee, (4, 4, 1)), check_contrast=False)
    io.imsave(tmp_path / "small.tif", coffee[:200, :300, 0], check_contrast=False)
    (tmp_path / "licence.txt").write_text("public domain")
    return tmp_path


def test_photographs_of_a_folder_are_reduced(folder: Path) -> None:
    found = list(photographs_of(folder, seed=1))
    assert len(found) == 2 * SIZES
    for picture in found[:SIZES]:
        assert picture.shape[2] == 3
        assert (picture[..., 0] != picture[..., 1]).any()
        # Of a third the size, and smaller.
        assert 0.3 * LONGEST_SIDE < max(picture.shape) <= 800
    for picture in found[SIZES:]:
        assert (picture == picture[..., :1]).all()
        assert SMALLEST_SIDE <= min(picture.shape[:2]) <= 200


def test_a_bank_takes_a_folder_in_besides(folder: Path) -> None:
    plain = picture_bank(leaves=1, micrographs=1, seed=0, side=32)
    bank = picture_bank(leaves=1, micrographs=1, seed=0, side=32, folder=folder)
    assert [len(kind) for kind in bank] == [1, len(plain[1]) + 2 * SIZES, 1]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path.name} holds no picture"):
        next(photographs_of(tmp_path))


def test_a_picture_of_another_type_is_named(tmp_path: Path) -> None:
    io.imsave(tmp_path / "deep.tif", np.zeros((8, 8), np.uint16), check_contrast=False)
    with pytest.raises(ValueError, match=r"deep\.tif: uint16 of shape \(8, 8\), expected 8 bit"):
        next(photographs_of(tmp_path))


def test_other_seeds_take_other_sizes() -> None:
    first, again, other = (
        [p.shape for p in itertools.islice(photographs(seed), 5)] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_some_edges_of_things_are_soft() -> None:
    def steepest(softness: float) -> float:
        y, x = np.indices((64, 64), dtype=np.float32) - 32
        distance = pictures._distance(y, x, 12, np.random.default_rng(3))
        cover = pictures._cover(distance, softness)
        assert cover.min() >= 0
        assert cover.max() == pytest.approx(1)
        return float(np.abs(np.diff(cover)).max())

    assert steepest(4) < 0.6 * steepest(1)


def test_pages_have_ink_on_paper() -> None:
    for seed in range(6):
        grey = page(640, np.random.default_rng(seed)).mean(axis=2)
        # Most of it is paper, be it bright or dark, and ink stands out from it.
        paper = np.median(grey)
        assert np.mean(np.abs(grey - paper) < 20) > 0.4
        assert np.abs(grey - paper).max() > 60
