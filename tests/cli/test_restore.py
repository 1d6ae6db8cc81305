"""``napari-blindsr restore`` beyond blur: masks, gain, noise, the finish, kernel families."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_blindsr import weights
from napari_blindsr.cli.options import FamilyOptions, choose_kernel
from napari_blindsr.errors import SettingsError
from napari_blindsr.images.files import read_image, read_mask
from napari_blindsr.methods import METHOD_TABLE, Method
from napari_blindsr.physics.kernels import (
    Airy,
    Automatic,
    Disk,
    Gaussian,
    KernelFamily,
    Line,
    Motion,
)
from napari_blindsr.weights import USRNET_VARIABLE
from tests.cli.command_line import check_refused, narrow_schedule, picture, run_here
from tests.helpers import reference_data


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_schedule(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with inputs; no weights are on this machine, and none can be fetched."""
    monkeypatch.delenv(USRNET_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(weights, "USRNET_ADDRESS", "http://127.0.0.1:1/usrnet_tiny.pth")
    Image.fromarray(picture((12, 13, 3))).save(tmp_path / "in.png")
    mask = np.zeros((12, 13), dtype=np.uint8)
    mask[3:8, 4:9] = 7
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask > 0)
    Image.fromarray(np.stack([0 * mask, mask, 0 * mask], axis=-1)).save(tmp_path / "colour.png")
    # Large enough to estimate a blur.
    Image.fromarray(picture((20, 21, 3))).save(tmp_path / "large.png")
    Image.fromarray(np.pad(mask, ((4, 4), (4, 4)))).save(tmp_path / "large_mask.png")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("in.png --mask mask.png --method ddsr --steps 2", (12, 13)),
        # Through a wide blur the neighbours would see what is covered.
        ("large.png --mask large_mask.png --sigma 0.8 1.2", (20, 21)),
    ],
    ids=["ddsr", "fast"],
)
def test_covered_dark_and_noisy(
    options: str,
    shape: tuple[int, int],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = (
        f"restore {options} -o out.tif -s 2 --gain auto "
        "--noise auto --mask-out filled.png --report r.json --device cpu --threads 1"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    said = capfd.readouterr().err
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    filled = read_image(folder / "filled.png").array
    assert filled.dtype == np.uint8
    assert filled.shape == (2 * shape[0], 2 * shape[1])
    assert set(np.unique(filled)) == {0, 255}
    assert report["covered"] == int((filled == 255).sum())
    # Only what no measured pixel sees is filled in.
    assert not filled[:6].any()
    assert report["gain"] == pytest.approx(picture((*shape, 3)).max() / 255, abs=0.05)
    assert f"Estimated gain: {report['gain']:.3g}." in said
    assert report["noise"] > 0
    assert f"Estimated noise: SD {report['noise']:.3g}." in said
    assert report["settings"]["noise"] == "auto"


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "colour.png"])
def test_masks_are_what_is_not_zero(name: str, folder: Path) -> None:
    covered = read_mask(folder / name)
    assert covered.dtype == np.bool_
    assert covered.sum() == 25
    assert covered[3:8, 4:9].all()


@pytest.mark.parametrize("options", ["--method mlmc --steps 1", "--method fast"])
def test_nothing_covered_is_an_empty_mask(
    options: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = f"restore large.png -o out.tif -s 2 {options} --mask-out filled.tif --quiet"
    assert run_here(arguments, monkeypatch, folder) == 0
    filled = tifffile.imread(folder / "filled.tif")
    assert filled.dtype == np.uint8
    assert filled.shape == (40, 42)
    assert not filled.any()


@pytest.mark.parametrize("options", ["--method ddsr --steps 1", "--sigma 0.8 1.2"])
def test_saturated_pixels_are_filled_in(
    options: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture((20, 21))
    image[4:13, 5:14] = 255
    Image.fromarray(image).save(folder / "bright.png")
    arguments = (
        f"restore bright.png -o out.tif -s 2 {options} --mask-saturated "
        "--mask-out filled.png --quiet"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    assert read_image(folder / "filled.png").array.any()


@pytest.mark.parametrize("options", ["--method mlmc-usrnet", "--method ddsr --finish usrnet"])
def test_without_weights_the_first_stage_is_delivered(
    options: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = f"restore in.png -o out.png -s 2 --steps 1 --report r.json {options}"
    assert run_here(arguments, monkeypatch, folder) == 0
    said = capfd.readouterr().err
    assert "note: not finished with USRNet" in said
    assert "http://127.0.0.1:1/usrnet_tiny.pth" in said
    assert "Downloading" not in said
    assert read_image(folder / "out.png").array.shape == (24, 26, 3)
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert report["finish"] == "none"
    assert len(report["notes"]) == 1


def test_without_weights_a_blur_that_was_read_is_finished_by_the_prior(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = "restore large.png -s 2 --method fast --device cpu"
    options = "-o usrnet.tif --finish usrnet --report r.json"
    assert run_here(f"{shared} {options}", monkeypatch, folder) == 0
    assert "note: not finished with USRNet" in capfd.readouterr().err
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert report["finish"] == "prior"
    assert report["settings"]["finish"] == "usrnet"
    assert report["learned_priors"] == ["kernel estimator", "image prior"]
    assert run_here(f"{shared} -o prior.tif --quiet", monkeypatch, folder) == 0
    instead, prior = (read_image(folder / name).array for name in ("usrnet.tif", "prior.tif"))
    np.testing.assert_allclose(instead, prior, atol=1e-3)


@pytest.mark.parametrize(
    ("finish", "learned"),
    [
        ("prior", ["kernel estimator", "image prior"]),
        ("usrnet", ["kernel estimator", "USRNet"]),
        ("measurement", ["kernel estimator"]),
    ],
)
def test_every_finish_of_a_blur_that_was_read(
    finish: str,
    learned: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = f"restore large.png -o out.tif -s 2 --finish {finish} --report r.json"
    if finish == "usrnet":
        arguments = f"{arguments} --usrnet-weights {reference_data() / 'usrnet_tiny.pth'}"
    assert run_here(arguments, monkeypatch, folder) == 0
    said = capfd.readouterr().err
    assert f"Neural networks used: {', '.join(learned)}.\n" in said
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert (report["finish"], report["learned_priors"]) == (finish, learned)
    assert read_image(folder / "out.tif").array.shape == (40, 42, 3)


def test_with_weights_it_is_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = reference_data() / "usrnet_tiny.pth"
    shared = "restore in.png -s 2 --steps 1 --quiet --device cpu"
    weighted = f"--usrnet-weights {published}"
    for name, options in (
        ("method", f"--method mlmc-usrnet {weighted}"),
        ("option", f"--method mlmc --finish usrnet {weighted}"),
        ("none", "--method mlmc-usrnet --finish none"),
        ("plain", "--method mlmc"),
    ):
        assert run_here(f"{shared} {options} -o {name}.tif", monkeypatch, folder) == 0
    images = {path.stem: read_image(path).array for path in folder.glob("*.tif")}
    np.testing.assert_allclose(images["method"], images["option"], atol=1e-3)
    np.testing.assert_allclose(images["none"], images["plain"], atol=1e-3)
    assert np.abs(images["method"] - images["plain"]).mean() > 1


@pytest.mark.parametrize("method", METHOD_TABLE, ids=lambda method: method.name)
@pytest.mark.parametrize("scale", [1, 8])
def test_every_method_at_the_ends_of_the_scales(
    method: Method, scale: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, steps = (6 if scale == 8 else 20), "--steps 1"
    if not method.optimises:
        side, steps = 16, ""
    Image.fromarray(picture((side, side + 1))).save(folder / "a.png")
    arguments = f"restore a.png -o out.tif -s {scale} {steps} --quiet --method {method.name}"
    assert run_here(arguments, monkeypatch, folder) == 0
    shape = tuple(scale * n for n in read_image(folder / "a.png").array.shape)
    assert read_image(folder / "out.tif").array.shape == shape


@pytest.mark.parametrize("options", ["--method mlmc --steps 1", "--method fast"])
def test_kernels_from_a_folder(options: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shakes").mkdir()
    np.save(folder / "shakes" / "a.npy", np.eye(9))
    arguments = (
        f"restore large.png -o out.tif -s 2 {options} --kernel shakes --report r.json --quiet"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert report["settings"]["kernel"]["name"] == "motion"


@pytest.mark.parametrize(
    ("kernel", "given", "family"),
    [
        ("gaussian", FamilyOptions(), Gaussian()),
        ("gaussian", FamilyOptions(sigma=(1, 3)), Gaussian(variance=(1, 9))),
        ("auto", FamilyOptions(), Automatic()),
        ("auto", FamilyOptions(sigma=(1, 3)), Automatic(variance=(1, 9))),
        ("disk", FamilyOptions(radius=(1, 3)), Disk(radius=(1, 3))),
        ("line", FamilyOptions(), Line()),
        ("line", FamilyOptions(length=(1, 9)), Line(half_length=(0, 4))),
        ("motion", FamilyOptions(extent=(1, 3)), Motion(extent=(1, 3))),
        ("motion", FamilyOptions(persistence=0.5), Motion(persistence=0.5)),
        (
            "airy",
            FamilyOptions(na=1.2, wavelength=600, pixel_size=100, index=1.5, defocus=(0, 9)),
            Airy(
                numerical_aperture=1.2,
                wavelength=600,
                pixel_size=100,
                refractive_index=1.5,
                defocus=(0, 9),
            ),
        ),
    ],
)
def test_parameters_of_families(kernel: str, given: FamilyOptions, family: KernelFamily) -> None:
    assert choose_kernel(kernel, given) == family


def test_parameters_belong_to_their_family() -> None:
    for kernel in ("gaussian", "disk", "line", "motion", "airy", "psf.npy"):
        owned = {"gaussian": "sigma", "disk": "radius", "line": "length", "motion": "extent"}
        for owner, name in {**owned, "airy": "defocus"}.items():
            optics = {"na": 0.8, "wavelength": 520.0, "pixel_size": 160.0}
            known = optics if kernel == "airy" else {}
            given = FamilyOptions(**known, **{name: (1.0, 2.0)})  # type: ignore[arg-type]
            if owner != kernel:
                with pytest.raises(SettingsError, match=f"--{name} is a parameter of --kernel"):
                    choose_kernel(kernel, given)
            else:
                choose_kernel(kernel, given)


@pytest.mark.parametrize("options", ["--method mlmc --steps 1", "--method fast"])
def test_family_parameters_reach_the_run(
    options: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        f"restore large.png -o out.tif -s 2 {options} --quiet --report r.json --kernel airy "
        "--na 0.9 --wavelength 600 --pixel-size 300 --index 1.33 --defocus 0 200"
    )
    assert run_here(arguments, monkeypatch, folder) == 0
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert report["settings"]["kernel"] == {
        "name": "airy",
        "numerical_aperture": 0.9,
        "wavelength": 600.0,
        "pixel_size": 300.0,
        "refractive_index": 1.33,
        "defocus": [0.0, 200.0],
    }


DDSR = "in.png -o out.tif -s 2 --method ddsr"
MLMC = "in.png -o out.tif -s 2 --method mlmc"
FAST = "in.png -o out.tif -s 2"
BAD = [
    (f"{DDSR} --mask small.png", "the mask is 4 × 5; expected 12 × 13"),
    (f"{DDSR} --mask all.png", "covers the whole image"),
    (f"{DDSR} --mask none.png", "none.png: there is no such file"),
    (f"{DDSR} --mask text.png", "no PNG image"),
    (f"{DDSR} --gain 0", "gain is 0.0; expected a positive number"),
    (f"{DDSR} --gain -1", "gain is -1.0"),
    (f"{DDSR} --gain bright", "gain is 'bright'; expected a number or 'auto'"),
    (f"{DDSR} --gain nan", "gain is 'nan'"),
    (f"{DDSR} --gain inf", "gain is inf"),
    (f"{DDSR} --noise -1", "noise is -1.0"),
    (f"{DDSR} --noise much", "noise is 'much'"),
    (f"{DDSR} --mask-out filled.npy", "expected .png, .tif or .tiff"),
    (f"{DDSR} --mask-out mask.png", "exists already"),
    (f"{DDSR} --mask-out out.tif", "two options name this file"),
    (f"{DDSR} --mask mask.png --mask-out mask.png --force", "two options name this file"),
    (f"{MLMC} --mask mask.png", "method 'mlmc' takes no mask; use one of ['fast', 'ddsr',"),
    (f"{MLMC} --mask in.png", "method 'mlmc' takes no mask"),
    (f"{MLMC} --gain 0.5", "method 'mlmc' takes no gain"),
    (f"{MLMC} --mask-saturated", "method 'mlmc' takes no gain and no mask"),
    (f"{FAST} --steps 300", "steps is 300, but method 'fast' takes no steps"),
    (f"{FAST} --finish none", "finish is 'none', expected one of ['prior', 'usrnet', 'measurem"),
    (f"{FAST} --unbounded", "bounded is False, but method 'fast'"),
    (f"{FAST} --mask small.png", "the mask is 4 × 5; expected 12 × 13"),
    (FAST, "the image is 12 × 13 pixels; expected at least 16 on each side to estimate a blur"),
    (f"{DDSR} --finish magic", "magic"),
    (f"{DDSR} --threads 0", "threads is 0"),
    (f"{DDSR} --finish usrnet --usrnet-weights none.pth", "there is no file none.pth"),
    (f"{DDSR} --finish usrnet --usrnet-weights text.png", "has SHA-256"),
    (f"{DDSR} --finish usrnet --usrnet-weights tensors.pth", "has SHA-256"),
    (f"{DDSR} --kernel empty", "the folder empty holds no kernels"),
    (f"{DDSR} --kernel oblong", "oblong/a.npy: the kernel is 3 × 4; expected a square"),
    (f"{DDSR} --kernel negative", "negative/a.npy: the kernel has sum -9"),
    (f"{DDSR} --kernel oblong/a.npy", "the kernel is 3 × 4; expected a square"),
    (f"{DDSR} --kernel negative/a.npy", "the kernel has sum -9; expected a positive sum"),
    (f"{DDSR} --kernel negative --radius 1 2", "--radius is a parameter of --kernel disk"),
    (f"{DDSR} --kernel disk --sigma 1 2", "--sigma is a parameter of --kernel gaussian"),
    (f"{DDSR} --na 5", "numerical_aperture is 5.0; expected a number from 0.01 to 1.8"),
    (f"{DDSR} --sigma 3 1", "--sigma is 3 to 1; expected a range above 0"),
    (f"{DDSR} --sigma -2 1", "--sigma is -2 to 1"),
    (f"{DDSR} --sigma 1", "--sigma"),
    (f"{DDSR} --sigma wide 2", "'wide'"),
    (f"{DDSR} --kernel disk --radius 0 1", "radius is 0 to 1"),
    (f"{DDSR} --kernel line --length 0 1", "--length is 0 to 1; expected a range from 1"),
    (f"{DDSR} --kernel motion --persistence 0", "persistence is 0"),
    (f"{DDSR} --kernel airy", "unknown: numerical_aperture (--na), emission_nm (--emission)"),
    (f"{DDSR} --kernel airy --na 1 --emission 520", "unknown: pixel_size_nm (--pixel-size)"),
    (
        f"{DDSR} --kernel airy --na 1.2 --emission 520 --pixel-size 65",
        "expected an aperture below the index",
    ),
    (f"{DDSR} --kernel airy --pixel-size 0", "pixel_size_nm is 0"),
]


@pytest.fixture
def bad_folder(folder: Path) -> Path:
    Image.fromarray(np.full((4, 5), 255, dtype=np.uint8)).save(folder / "small.png")
    Image.fromarray(np.full((12, 13), 255, dtype=np.uint8)).save(folder / "all.png")
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "tensors.pth").write_bytes(b"other tensors")
    for name in ("empty", "oblong", "negative"):
        (folder / name).mkdir()
    np.save(folder / "oblong" / "a.npy", np.ones((3, 4)))
    np.save(folder / "negative" / "a.npy", -np.ones((3, 3)))
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_input(
    arguments: str,
    message: str,
    bad_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    check_refused(f"restore {arguments}", message, bad_folder, monkeypatch, capfd)


def test_a_jpeg_is_one_image_as_a_png_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture((24, 26, 3))).save(tmp_path / "portrait.jpg")
    options = "-s 2 --kernel gaussian --finish measurement --report run.json --kernel-out k.npy"
    words = f"restore portrait.jpg -o portrait_x2.png {options}"
    assert run_here(words, monkeypatch, tmp_path) == 0, capfd.readouterr().err
    assert read_image(tmp_path / "portrait_x2.png").array.shape == (48, 52, 3)
    assert "Estimated blur" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "k.npy",
        "portrait.jpg",
        "portrait_x2.png",
        "run.json",
    ]


def test_a_stack_says_what_one_image_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its blur in the unit of its file, what is missing, and what to do about warnings."""
    image = np.stack([picture(), picture()[::-1]]).astype(np.float32)
    image[1, 5, 5] = np.nan
    size = {"unit": "um"}
    tifffile.imwrite(
        tmp_path / "t.tif",
        image,
        imagej=True,
        resolution=(1 / 0.13, 1 / 0.13),
        metadata={"axes": "TYX", **size},
    )
    words = "restore t.tif -o t_x2.tif -s 2 --finish measurement"
    assert run_here(words, monkeypatch, tmp_path) == 0
    said = capfd.readouterr().err
    assert re.search(r"Estimated blur: FWHM .* px \(90 %: .*\), .* µm\.", said), said
    assert "note: 1 plane: 1 pixel without a finite value was filled in" in said
    report = json.loads((tmp_path / "t_x2.json").read_text(encoding="utf-8"))
    for flag in report["flags"]:
        assert f"warning: {flag['message']}. {flag['meaning']} {flag['advice']}" in said
    assert run_here(words, monkeypatch, tmp_path) == 0
    assert capfd.readouterr().err == "t_x2.tif is already complete; --force restores it again\n"
