"""What is known of a microscope: its numbers, their ranges, and where they come from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage import data
from typer.testing import CliRunner

import napari_blindsr
from napari_blindsr import Optics, Settings, estimate_kernel, restore
from napari_blindsr.cli.app import app
from napari_blindsr.errors import SettingsError
from napari_blindsr.images.files import LoadedImage, read_image
from napari_blindsr.optics import RANGES
from napari_blindsr.physics.kernels import Airy

KNOWN = Optics(numerical_aperture=1.2, emission_nm=520, pixel_size_nm=65)


def image(side: int = 48) -> np.ndarray:
    piece: np.ndarray = data.camera()[100 : 100 + side, 200 : 200 + side]
    return piece


def test_the_width_by_hand() -> None:
    # 0.21 · 520 nm / 1.2 = 91 nm.
    assert KNOWN.sigma_nm == pytest.approx(91)
    assert KNOWN.sigma == pytest.approx(1.4)
    assert KNOWN.log_variance == pytest.approx(math.log(1.96))
    assert napari_blindsr.Optics is Optics


def test_it_is_the_width_of_an_airy_disk() -> None:
    """The Gaussian through the Airy pattern's half maximum is 4 % wider in its core."""
    half = 0.5145 * 520 / 1.2 / 2 / math.sqrt(2 * math.log(2))
    assert KNOWN.sigma_nm == pytest.approx(half, rel=0.06)


@pytest.mark.parametrize("missing", list(RANGES))
def test_without_one_of_them_nothing_is_known(missing: str) -> None:
    values = {name: value for name, value in KNOWN.report().items() if name != missing}
    part = Optics(**values)
    assert part.sigma is None
    assert math.isnan(part.log_variance)
    assert part.completed(KNOWN) == KNOWN
    assert Optics().completed(part) == part
    # What is known stays.
    assert KNOWN.completed(Optics(numerical_aperture=0.5, emission_nm=400)) == KNOWN


@pytest.mark.parametrize("name", list(RANGES))
def test_numbers_out_of_range_are_refused(name: str) -> None:
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(Optics(**{name: value}), name) == value
    values: list[Any] = [0.9 * low, 1.1 * high, -low, 0, math.nan, math.inf, "1.2", [1.2]]
    for value in values:
        with pytest.raises(SettingsError, match=name):
            Optics(**{name: value})


def test_settings_keep_it() -> None:
    settings = Settings(scale=2, optics=KNOWN)
    record = json.loads(json.dumps(settings.to_json()))
    assert record["optics"] == {
        "numerical_aperture": 1.2, "emission_nm": 520, "pixel_size_nm": 65,
    }  # fmt: skip
    assert Settings.from_json(record) == settings
    # Records of older versions have none.
    del record["optics"]
    assert Settings.from_json(record) == Settings(scale=2)
    with pytest.raises(SettingsError, match="optics"):
        Settings(scale=2, optics={"numerical_aperture": 1.2})  # type: ignore[arg-type]


def ome(
    tmp_path: Path,
    *,
    objectives: str = '<Objective ID="Objective:0" LensNA="1.2"/>',
    waves: tuple[str, ...] = ('EmissionWavelength="520" EmissionWavelengthUnit="nm"',),
    size: str = 'PhysicalSizeX="0.065" PhysicalSizeXUnit="&#181;m"',
    settings: str = "",
) -> Path:
    """Write an OME-TIFF file of one grey image with metadata of its optics."""
    path = tmp_path / "image.ome.tif"
    channels = "".join(
        f'<Channel ID="Channel:0:{n}" SamplesPerPixel="1" {wave}/>' for n, wave in enumerate(waves)
    )
    xml = f"""<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Instrument ID="Instrument:0">{objectives}</Instrument>
<Image ID="Image:0">{settings}<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="48"
SizeY="48" SizeC="{len(waves)}" SizeZ="1" SizeT="1" {size}>{channels}<TiffData/></Pixels></Image>
</OME>"""
    planes = np.stack([image()] * len(waves))
    tifffile.imwrite(
        path, planes, photometric="minisblack", description=xml.encode(), metadata=None
    )
    return path


def test_a_file_tells_of_it(tmp_path: Path) -> None:
    loaded = read_image(ome(tmp_path))
    assert loaded.optics.numerical_aperture == 1.2
    assert loaded.optics.emission_nm == pytest.approx(520)
    assert loaded.optics.pixel_size_nm == pytest.approx(65)
    assert loaded.known_optics(Optics()).sigma == pytest.approx(1.4)
    # What is given is taken before what the file tells.
    given = loaded.known_optics(Optics(numerical_aperture=0.6))
    assert given.sigma == pytest.approx(2.8)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"objectives": ""}, "numerical_aperture"),
        ({"objectives": '<Objective ID="Objective:0" LensNA="-1"/>'}, "numerical_aperture"),
        ({"objectives": '<Objective ID="Objective:0" LensNA="oil"/>'}, "numerical_aperture"),
        # Which of them was used?
        (
            {"objectives": '<Objective ID="O:0" LensNA="1.2"/><Objective ID="O:1" LensNA="0.4"/>'},
            "numerical_aperture",
        ),
        ({"waves": ("",)}, "emission_nm"),
        ({"waves": ('EmissionWavelength="0"',)}, "emission_nm"),
        ({"size": ""}, "pixel_size_nm"),
        ({"size": 'PhysicalSizeX="0.065" PhysicalSizeXUnit="pixel"'}, "pixel_size_nm"),
    ],
)
def test_what_makes_no_sense_is_left_out(
    tmp_path: Path, options: dict[str, Any], missing: str
) -> None:
    optics = read_image(ome(tmp_path, **options)).optics
    given = {name for name in RANGES if getattr(optics, name) is not None}
    assert given == set(RANGES) - {missing}


def test_the_objective_that_was_used_counts(tmp_path: Path) -> None:
    path = ome(
        tmp_path,
        objectives='<Objective ID="O:0" LensNA="1.2"/><Objective ID="O:1" LensNA="0.4"/>',
        settings='<ObjectiveSettings ID="O:1"/>',
    )
    assert read_image(path).optics.numerical_aperture == 0.4


def test_lengths_may_be_in_any_unit(tmp_path: Path) -> None:
    path = ome(
        tmp_path,
        waves=('EmissionWavelength="0.52" EmissionWavelengthUnit="um"',),
        size='PhysicalSizeX="6.5e-5" PhysicalSizeXUnit="mm"',
    )
    optics = read_image(path).optics
    assert optics.emission_nm == pytest.approx(520)
    assert optics.pixel_size_nm == pytest.approx(65)


def test_a_pixel_size_alone_is_left_out(tmp_path: Path) -> None:
    loaded = read_image(ome(tmp_path, objectives="", waves=("",)))
    assert loaded.known_optics(Optics()) == Optics()
    given = loaded.known_optics(Optics(numerical_aperture=1.2, emission_nm=520))
    assert given.sigma == pytest.approx(1.4)
    assert LoadedImage(array=image()).known_optics(KNOWN) == KNOWN


def test_it_narrows_what_the_blur_may_be() -> None:
    estimates = [
        estimate_kernel(
            image(), scale=2, device="cpu",
            optics=Optics(numerical_aperture=na, emission_nm=520, pixel_size_nm=65),
        )
        for na in (1.4, 0.7)
    ]  # fmt: skip
    narrow, wide = (estimate.widths[0] for estimate in estimates)
    assert narrow < wide
    plain = estimate_kernel(image(), scale=2, device="cpu")
    unknown = estimate_kernel(image(), scale=2, device="cpu", optics=Optics(pixel_size_nm=65))
    assert unknown.widths == plain.widths
    # The spectrum knows nothing of it.
    spectra = [
        estimate_kernel(image(), scale=2, reader="spectrum", device="cpu", optics=optics)
        for optics in (None, KNOWN)
    ]
    assert spectra[0].widths == spectra[1].widths


def test_a_restoration_makes_use_of_it() -> None:
    results = [restore(image(), scale=2, device="cpu", optics=optics) for optics in (None, KNOWN)]
    assert results[1].settings.optics == KNOWN
    assert results[1].report()["settings"]["optics"] == KNOWN.report()
    assert results[0].blur is not None
    assert results[1].blur is not None
    assert results[0].blur.widths != results[1].blur.widths


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    report = Path(arguments[arguments.index("--report") + 1])
    record: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize("wave", ["--emission", "--wavelength"])
def test_the_command_takes_it(tmp_path: Path, wave: str) -> None:
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, image())
    report = str(tmp_path / "report.json")
    record = run(
        "kernel", str(source), "-s", "2", "--na", "1.2", wave, "520", "--pixel-size", "65",
        "--device", "cpu", "--report", report, "--quiet",
    )  # fmt: skip
    assert record["settings"]["optics"] == KNOWN.report()


def test_the_commands_take_it_from_the_file(tmp_path: Path) -> None:
    source, report = str(ome(tmp_path)), str(tmp_path / "report.json")
    common = ["--device", "cpu", "--report", report, "--quiet", "--force"]
    for command in (["kernel", source], ["restore", source, "-o", str(tmp_path / "out.tif")]):
        record = run(*command, "-s", "2", "--na", "0.9", *common)
        optics = Optics(**record["settings"]["optics"])
        assert optics.numerical_aperture == 0.9
        assert optics.emission_nm == pytest.approx(520)
        assert optics.pixel_size_nm == pytest.approx(65)


def test_the_kernels_of_a_microscope_need_it() -> None:
    """Nothing is assumed of a microscope that was only named."""
    unknown = r"unknown: numerical_aperture \(--na\), emission_nm \(--emission\), pixel_size_nm"
    for call in (estimate_kernel, restore):
        with pytest.raises(SettingsError, match=unknown):
            call(image(), scale=2, kernel="airy", device="cpu")
    with pytest.raises(SettingsError, match=r"unknown: emission_nm \(--emission\)$"):
        restore(image(), scale=2, kernel="airy", optics=replace(KNOWN, emission_nm=None))
    known = Optics(numerical_aperture=0.6, emission_nm=600, pixel_size_nm=200)
    result = restore(image(), scale=2, kernel="airy", optics=known, device="cpu")
    assert result.settings.kernel == Airy(numerical_aperture=0.6, wavelength=600, pixel_size=200)


@pytest.mark.parametrize("command", ["restore", "kernel"])
def test_the_kernels_of_a_microscope_take_it_from_the_file(tmp_path: Path, command: str) -> None:
    path = ome(tmp_path, objectives='<Objective ID="Objective:0" LensNA="0.6"/>')
    report = tmp_path / "report.json"
    words = [command, str(path), "-s", "2", "--kernel", "airy", "--emission", "600", "--quiet"]
    words += ["--report", str(report), "--device", "cpu"]
    words += ["-o", str(tmp_path / "out.tif")] if command == "restore" else []
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    kernel = json.loads(report.read_text(encoding="utf-8"))["settings"]["kernel"]
    assert (kernel["numerical_aperture"], kernel["wavelength"]) == (0.6, 600)
    assert kernel["pixel_size"] == pytest.approx(65)
