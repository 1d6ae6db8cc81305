"""Preparing data sets, and reading those that are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat, savemat
from skimage import data

from napari_blindsr.errors import BlindSRError, FileError, InputError, SettingsError
from napari_blindsr.evaluation import prepare
from napari_blindsr.evaluation.dataset import Layout, Manifest, open_dataset, read_manifest
from napari_blindsr.evaluation.prepare import Preparation, prepare_dataset, prepare_image
from napari_blindsr.metrics import psnr_y
from napari_blindsr.physics.centring import locate
from napari_blindsr.physics.kernel_files import read_kernel_folder
from napari_blindsr.physics.kernels import Disk, Gaussian, KernelFamily, Motion
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel, interpolate
from napari_blindsr.settings import kernel_family
from napari_blindsr.types import BORDERS, GEOMETRIES, Border, Geometry
from tests.helpers import reference_data, tensor


def sharp() -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = data.astronaut()[20:83, 180:250]
    return picture


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder; MATLAB files by their kernel, as they carry a date."""
    return {
        str(path.relative_to(folder)): loadmat(path)["Kernel"].tobytes()
        if path.suffix == ".mat"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "HR").mkdir()
    Image.fromarray(sharp()).save(tmp_path / "HR" / "face.png")
    tifffile.imwrite(tmp_path / "HR" / "grey.tif", sharp()[..., 1].astype(np.uint16) * 257)
    return tmp_path


def prepared(folder: Path, scale: int = 2, **options: Any) -> Manifest:
    options.setdefault("kernel", Gaussian())
    return prepare_dataset(
        Layout(folder=folder, scale=scale), Preparation(scale=scale, **options), force=True
    )


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_data_set_reads_back_with_its_truth(
    folder: Path, geometry: Geometry, border: Border
) -> None:
    manifest = prepared(folder, geometry=geometry, border=border, seed=3)
    assert sorted(path.name for path in folder.iterdir()) == [
        "DDSR_gt_k_x2",
        "DDSR_lr_x2",
        "DDSR_manifest_x2.json",
        "HR",
    ]
    opened = open_dataset(folder, scale=2)
    assert opened.manifest == manifest
    assert (opened.geometry, opened.border) == (geometry, border)
    assert opened.names == ("face", "grey")
    for name in opened.names:
        case = opened.load(name)
        assert case.coarse.dtype == np.uint8
        assert case.truth.shape[:2] == tuple(2 * n for n in case.coarse.shape[:2])
        assert case.kernel is not None
        assert case.kernel.sum() == pytest.approx(1, abs=1e-5)
        # The truth is found where it belongs: no shift by a pixel is better.
        placed = interpolate(case.coarse, 2, geometry=geometry, border=border) / 255
        right = psnr_y(placed, case.truth, crop=4)
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            assert right > psnr_y(np.roll(placed, step, (0, 1)), case.truth, crop=4)


def test_the_same_seed_repeats_and_another_does_not(folder: Path) -> None:
    prepared(folder, noise=8.0, seed=5)
    first = tree(folder)
    prepared(folder, noise=8.0, seed=5)
    assert tree(folder) == first
    prepared(folder, noise=8.0, seed=6)
    second = tree(folder)
    assert all(second[name] != first[name] for name in first if not name.startswith("HR"))


def test_an_image_does_not_depend_on_the_others(folder: Path) -> None:
    prepared(folder, noise=8.0)
    first = tree(folder)
    (folder / "HR" / "grey.tif").unlink()
    prepared(folder, noise=8.0)
    alone = tree(folder)
    assert alone["DDSR_lr_x2/face.png"] == first["DDSR_lr_x2/face.png"]
    assert "DDSR_lr_x2/grey.png" not in alone


def test_noise_is_drawn_per_image_in_levels() -> None:
    flat = np.full((120, 120), 0.5)
    clean = prepare_image(flat, Preparation(scale=2, kernel=Gaussian()), seed=0)
    deviations = []
    for seed in range(12):
        noisy = prepare_image(flat, Preparation(scale=2, kernel=Gaussian(), noise=20), seed=seed)
        deviation = 255 * noisy.degradation.noise
        deviations.append(deviation)
        measured = np.std(noisy.image.astype(float) - clean.image)
        assert measured == pytest.approx(deviation, rel=0.1, abs=0.5)
    assert 0 < min(deviations) < 8
    assert 12 < max(deviations) < 20


def test_dark_images_are_darker() -> None:
    bright = prepare_image(sharp(), Preparation(scale=2, kernel=Gaussian()), seed=1)
    dark = prepare_image(sharp(), Preparation(scale=2, kernel=Gaussian(), gain=0.3), seed=1)
    np.testing.assert_allclose(dark.image, 0.3 * bright.image, atol=1)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_gaussians_are_as_in_the_published_test_data(scale: int) -> None:
    preparation = Preparation(scale=scale, kernel=Gaussian())
    low, high = 0.175 * scale, min(2.5 * scale, 10)
    assert preparation.family == Gaussian(variance=(low, high))
    side = min(4 * scale + 3, 21)
    axis = np.arange(side)
    for seed in range(20):
        kernel = preparation.draw_kernel(seed).astype(np.float64)
        assert kernel.shape == (side, side)
        rows, columns = kernel.sum(axis=1), kernel.sum(axis=0)
        for profile in (rows, columns):
            variance = profile @ axis**2 - (profile @ axis) ** 2
            # What the array cuts off narrows the widest; pixels widen the narrowest.
            assert 0.5 * low - 0.1 < variance < high + 0.1


@pytest.mark.parametrize("name", ["gaussian", "disk", "line", "motion", "airy"])
@pytest.mark.parametrize("scale", [1, 4])
def test_every_family_can_be_drawn_and_recorded(name: str, scale: int, folder: Path) -> None:
    manifest = prepared(folder, scale, kernel=kernel_family(name), geometry="camera")
    assert manifest.family is not None
    assert manifest.family.name == name
    assert read_manifest(folder / f"DDSR_manifest_x{scale}.json") == manifest
    kernel = loadmat(folder / f"DDSR_gt_k_x{scale}" / "face.mat")["Kernel"]
    assert len(kernel) == manifest.kernel_size
    wanted = kernel_center(len(kernel), scale, "camera")
    # A shaken camera's path is centred by its mean, its core is not.
    tolerance = 1.5 if name == "motion" else 0.15
    assert locate(tensor(kernel)) == pytest.approx((wanted, wanted), abs=tolerance)


@pytest.mark.parametrize("side", [13, 14])
def test_a_given_kernel_is_moved_to_its_place(side: int) -> None:
    peak = gaussian_kernel((2.0, 1.0), 0.4, scale=1, size=side)
    preparation = Preparation(scale=4, kernel=peak, geometry="benchmark")
    moved = preparation.draw_kernel(0)
    wanted = kernel_center(len(moved), 4, "benchmark")
    assert locate(tensor(moved)) == pytest.approx((wanted, wanted), abs=0.05)
    assert moved.sum() == pytest.approx(1, abs=1e-5)
    again = Preparation(scale=4, kernel=moved, geometry="benchmark").draw_kernel(1)
    # But for the rounding of a sum that is already 1.
    np.testing.assert_allclose(again, moved, rtol=1e-6)


def test_kernels_from_a_folder(folder: Path, tmp_path: Path) -> None:
    kernels = tmp_path / "shakes"
    kernels.mkdir()
    np.save(kernels / "a.npy", gaussian_kernel((1.0, 1.0), 0, scale=1, size=7))
    savemat(kernels / "b.mat", {"Kernel": np.eye(7)})
    family: KernelFamily = Motion(kernels=read_kernel_folder(kernels))
    manifest = prepared(folder, kernel=family, kernel_source="shakes")
    read = read_manifest(folder / "DDSR_manifest_x2.json")
    assert read is not None
    # The kernels themselves are in the data set already.
    assert read.family == Motion()
    assert read.kernel_source == manifest.kernel_source == "shakes"


def test_published_data_are_benchmark_and_circular_and_rounded_down() -> None:
    opened = open_dataset(reference_data() / "Set5", scale=4)
    assert (opened.geometry, opened.border, opened.gain) == ("benchmark", "circular", 1.0)
    assert opened.names == ("baby", "bird", "butterfly", "head", "woman")
    case = opened.load("butterfly")
    assert case.kernel is not None
    again = degrade(
        case.truth,
        case.kernel,
        Degradation(scale=4, geometry="benchmark", border="circular", quantise=True),
    )
    np.testing.assert_array_equal(again.image, case.coarse)


def test_published_images_with_alpha_and_grey_truth(folder: Path) -> None:
    prepared(folder)
    for part in ("HR/grey.tif", "DDSR_manifest_x2.json"):
        (folder / part).unlink()
    colour = np.asarray(Image.open(folder / "DDSR_lr_x2" / "grey.png").convert("RGBA"))
    Image.fromarray(colour).save(folder / "DDSR_lr_x2" / "grey.png")
    Image.fromarray(sharp()[..., 1]).save(folder / "HR" / "grey.png")
    case = open_dataset(folder, scale=2, images=["grey"]).load("grey")
    assert case.coarse.shape == (31, 35, 3)
    assert case.truth.shape == (62, 70, 3)


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def no_hr(folder: Path) -> None:
    shutil.rmtree(folder / "HR")


def empty_hr(folder: Path) -> None:
    no_hr(folder)
    (folder / "HR").mkdir()


def unreadable(folder: Path) -> None:
    (folder / "HR" / "text.png").write_text("no image", encoding="utf-8")


def too_small(folder: Path) -> None:
    Image.fromarray(sharp()[:3, :3]).save(folder / "HR" / "tiny.png")


def out_of_range(folder: Path) -> None:
    tifffile.imwrite(folder / "HR" / "float.tif", np.full((40, 40), 3.0, dtype=np.float32))


def same_name(folder: Path) -> None:
    Image.fromarray(sharp()).save(folder / "HR" / "grey.png")


def existing(folder: Path) -> None:
    (folder / "DDSR_gt_k_x2").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_folder, "there is no data set"),
        (no_hr, "has no folder HR"),
        (empty_hr, "holds no images"),
        (unreadable, r"text\.png.*no PNG"),
        (too_small, r"tiny\.png.*too small"),
        (out_of_range, r"float\.tif holds float32"),
        (same_name, "have the same name"),
        (existing, "exists already; --force"),
    ],
)
def test_what_cannot_be_prepared_leaves_nothing(damage: Any, message: str, folder: Path) -> None:
    damage(folder)
    before = tree(folder) if folder.exists() else {}
    with pytest.raises(BlindSRError, match=message) as caught:
        prepare_dataset(Layout(folder=folder, scale=2), Preparation(scale=2, kernel=Gaussian()))
    assert "\n" not in str(caught.value)
    assert before == (tree(folder) if folder.exists() else {})


def test_a_failure_at_the_end_brings_back_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(folder, seed=1)
    before = tree(folder)
    real = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith("_x2.json") and self.parent.suffix == ".part":
            raise PermissionError(13, "not now")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FileError, match="not now"):
        prepared(folder, seed=2)
    monkeypatch.undo()
    assert tree(folder) == before
    assert len(list(folder.iterdir())) == 4


def test_an_interrupt_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "savemat", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepared(folder)
    assert [path.name for path in folder.iterdir()] == ["HR"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -1.0}, "noise is -1"),
        ({"gain": 0.0}, "gain is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"geometry": "flat"}, "geometry is 'flat'"),
        ({"border": "none"}, "border is 'none'"),
    ],
)
def test_bad_preparations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Preparation(scale=2, kernel=Disk(), **options)


def test_bad_layouts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="scale is 9"):
        Layout(folder=tmp_path, scale=9)
    for model in ("", "a/b", "..", "a:b"):
        with pytest.raises(SettingsError, match="model is"):
            Layout(folder=tmp_path, scale=2, model=model)


def test_data_sets_that_cannot_be_opened(folder: Path) -> None:
    with pytest.raises(FileError, match=r"not prepared for scale 2.*DDSR_lr_x2"):
        open_dataset(folder, scale=2)
    prepared(folder)
    with pytest.raises(FileError, match="no image 'none'"):
        open_dataset(folder, scale=2, images=["none"])
    with pytest.raises(FileError, match="model MLMC"):
        open_dataset(folder, scale=2, model="MLMC")
    (folder / "HR" / "grey.tif").unlink()
    with pytest.raises(FileError, match="has no truth"):
        open_dataset(folder, scale=2).load("grey")
    Image.fromarray(sharp()[:40]).save(folder / "HR" / "face.png")
    with pytest.raises(InputError, match="40 × 70, which has no part of 62 × 70"):
        open_dataset(folder, scale=2).load("face")
    Image.fromarray(sharp()).save(folder / "HR" / "grey.png")
    with pytest.raises(InputError, match="in colour"):
        open_dataset(folder, scale=2).load("grey")


@pytest.mark.parametrize(
    "change",
    [
        {"geometry": "flat"},
        {"images": {"face": {}}},
        {"family": {"name": "none"}},
        {"family": {"name": "disk", "radius": [-1, 2]}},
        {"images": 3},
    ],
)
def test_damaged_manifests(change: dict[str, Any], folder: Path) -> None:
    prepared(folder)
    path = folder / "DDSR_manifest_x2.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, **change}), encoding="utf-8")
    with pytest.raises(FileError, match="no manifest"):
        open_dataset(folder, scale=2)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(FileError, match="no manifest"):
        open_dataset(folder, scale=2)
    path.write_text(json.dumps({**record, "scale": 4}), encoding="utf-8")
    with pytest.raises(FileError, match="for scale 4"):
        open_dataset(folder, scale=2)
