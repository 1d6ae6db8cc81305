"""Scores of data sets: what is computed, kept, found again and compared with."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from skimage import data

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.evaluation import evaluate
from napari_blindsr.evaluation.dataset import Case, DataSet, Layout, open_dataset
from napari_blindsr.evaluation.evaluate import (
    Row,
    evaluation_table,
    mean_row,
    restored_rows,
    score,
    scored_rows,
    settings_for,
    write_csv,
)
from napari_blindsr.evaluation.prepare import Preparation, prepare_dataset
from napari_blindsr.evaluation.results import peak_memory, run_folder, settings_digest
from napari_blindsr.methods import Schedule
from napari_blindsr.metrics import SCORES
from napari_blindsr.metrics.kernel import same_size
from napari_blindsr.physics.kernels import Disk, Gaussian
from napari_blindsr.progress import StopReason
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.restoration.result import Result
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.nonblind.usrnet import load_usrnet
from tests.helpers import reference_data

CHEAP = Settings(
    scale=2,
    method="mlmc",
    schedule=Schedule(image_steps=1, structural_steps=1, warmup_steps=2, channels=8),
    device="cpu",
    threads=1,
)


def prepared(folder: Path, **options: object) -> DataSet:
    (folder / "HR").mkdir(exist_ok=True)
    face = data.astronaut()[20:62, 180:226]
    Image.fromarray(face).save(folder / "HR" / "face.png")
    Image.fromarray(face[::-1, :, 1]).save(folder / "HR" / "grey.png")
    preparation = Preparation(**{"scale": 2, "kernel": Gaussian(), **options})  # type: ignore[arg-type]
    prepare_dataset(Layout(folder=folder, scale=2), preparation, force=True)
    return open_dataset(folder, scale=2)


@pytest.fixture
def small(tmp_path: Path) -> DataSet:
    return prepared(tmp_path)


class Counting:
    """Restores images, and counts them."""

    def __init__(self, *, stop_at: int = -1) -> None:
        self.names: list[str] = []
        self.stop_at = stop_at

    def __call__(self, case: Case, settings: Settings, known: NDArray[np.float32] | None) -> Result:
        self.names.append(case.name)
        run = iterate(case.coarse, settings, known_kernel=known)
        try:
            while True:
                next(run)
        except StopIteration as end:
            result: Result = end.value
        if len(self.names) == self.stop_at:
            return dataclasses.replace(result, reason=StopReason.STOPPED)
        return result


def test_an_evaluation_goes_on_where_it_was_interrupted(small: DataSet, tmp_path: Path) -> None:
    settings = settings_for(small, CHEAP)
    folder = run_folder(tmp_path / "results", settings)
    first = Counting(stop_at=2)
    rows = list(restored_rows(small, settings, folder, run=first))
    assert first.names == ["face", "grey"]
    # What was stopped does not count.
    assert [row.name for row in rows] == ["face"]
    assert not (folder / "grey.json").exists()
    second = Counting()
    again = list(restored_rows(small, settings, folder, run=second))
    assert second.names == ["grey"]
    assert again[0].restored == pytest.approx(rows[0].restored)
    assert again[0].seconds == rows[0].seconds
    third = Counting()
    assert list(restored_rows(small, settings, folder, run=third)) == again
    assert third.names == []
    record = json.loads((folder / "face.json").read_text(encoding="utf-8"))
    assert record["scores"] == pytest.approx(rows[0].restored)
    assert record["settings"] == settings.to_json()
    assert {"seconds", "peak_memory", "versions", "device", "input_sha256"} <= record.keys()
    assert not list(folder.glob(".*"))


def test_results_of_another_input_or_half_written_ones_are_not_taken(
    small: DataSet, tmp_path: Path
) -> None:
    settings = settings_for(small, CHEAP)
    folder = run_folder(tmp_path / "results", settings)
    list(restored_rows(small, settings, folder))
    other = prepared(tmp_path, seed=9)
    run = Counting()
    list(restored_rows(other, settings, folder, run=run))
    assert run.names == ["face", "grey"]
    (folder / "face.npy").unlink()
    (folder / "grey.tif").write_bytes(b"half")
    run = Counting()
    list(restored_rows(other, settings, folder, run=run))
    assert run.names == ["face", "grey"]
    (folder / "face.json").write_text("{", encoding="utf-8")
    run = Counting()
    list(restored_rows(other, settings, folder, run=run))
    assert run.names == ["face"]


def test_settings_that_matter_have_their_own_folders() -> None:
    change = dataclasses.replace
    same = [CHEAP, change(CHEAP, device="auto"), change(CHEAP, threads=2)]
    same += [change(CHEAP, usrnet_weights="elsewhere.pth")]
    assert len({settings_digest(settings) for settings in same}) == 1
    others = [
        change(CHEAP, seed=1),
        change(CHEAP, kernel=Disk()),
        change(CHEAP, kernel="known"),
        change(CHEAP, method="ddsr"),
        change(CHEAP, method="fast"),
        change(CHEAP, method="fast", finish="measurement"),
        change(CHEAP, border="circular"),
        change(CHEAP, finish="usrnet"),
        change(CHEAP, schedule=Schedule()),
    ]
    assert len({settings_digest(settings) for settings in [CHEAP, *others]}) == 1 + len(others)
    assert run_folder(Path("r"), CHEAP).name.startswith("mlmc-")


def test_settings_follow_the_manifest(tmp_path: Path, small: DataSet) -> None:
    settings = settings_for(small, CHEAP)
    assert (settings.geometry, settings.border) == ("benchmark", "circular")
    # The solver's own range, not that of the published test data.
    assert settings.kernel == Gaussian()
    assert settings.noise == 0
    (tmp_path / "other").mkdir()
    other = prepared(
        tmp_path / "other",
        kernel=Disk(radius=(1.5, 2)),
        geometry="camera",
        border="extend",
        noise=5.0,
        gain=0.5,
    )
    with pytest.raises(SettingsError, match="takes no gain"):
        settings_for(other, CHEAP)
    settings = settings_for(other, dataclasses.replace(CHEAP, method="ddsr"))
    assert (settings.geometry, settings.border) == ("camera", "extend")
    assert settings.kernel == Disk(radius=(1.5, 2))
    assert (settings.gain, settings.noise) == (0.5, "auto")
    chosen = settings_for(other, dataclasses.replace(CHEAP, method="ddsr"), noise=2.0, gain="auto")
    assert (chosen.gain, chosen.noise) == ("auto", 2.0)


def test_the_truth_has_perfect_scores_and_the_baseline_its_own(small: DataSet) -> None:
    for name in small.names:
        case = small.load(name)
        perfect = score(case.truth, case, scale=2, kernel=case.kernel)
        assert perfect.keys() == {metric.name for metric in SCORES}
        assert math.isinf(perfect["psnr_y"])
        assert perfect["ssim_y"] == pytest.approx(1)
        assert perfect["kernel_error"] == 0
        plain = score(evaluate.interpolated(small, case), case, scale=2)
        assert plain.keys() == {"psnr_y", "ssim_y"}
        assert 20 < plain["psnr_y"] < 40


@pytest.mark.parametrize("border", ["circular", "extend"])
def test_dark_images_are_compared_at_normal_brightness(border: str, tmp_path: Path) -> None:
    scores = []
    for gain in (1.0, 0.5):
        prepared_set = prepared(tmp_path, gain=gain, border=border, geometry="camera")
        case = prepared_set.load("face")
        scores.append(score(evaluate.interpolated(prepared_set, case), case, scale=2)["psnr_y"])
    assert scores[1] == pytest.approx(scores[0], abs=0.3)


def test_a_method_that_reads_the_blur_is_scored(small: DataSet, tmp_path: Path) -> None:
    settings = settings_for(small, dataclasses.replace(CHEAP, method="fast"))
    rows = list(restored_rows(small, settings, tmp_path / "fast"))
    assert [row.name for row in rows] == ["face", "grey"]
    for row in rows:
        # The kernel that was read may be larger than the true one, or smaller.
        assert row.restored.keys() == {metric.name for metric in SCORES}
        assert all(map(math.isfinite, row.restored.values()))
        assert row.reason == "completed"
    record = json.loads((tmp_path / "fast" / "face.json").read_text(encoding="utf-8"))
    assert record["learned_priors"] == ["kernel estimator", "image prior"]
    run = Counting()
    for again, row in zip(
        restored_rows(small, settings, tmp_path / "fast", run=run), rows, strict=True
    ):
        assert again.restored == pytest.approx(row.restored)
    assert run.names == []


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_known_kernels_are_the_true_ones(small: DataSet, tmp_path: Path, method: str) -> None:
    asked = dataclasses.replace(CHEAP, method=method)
    settings = settings_for(small, asked, kernel="known")
    rows = list(restored_rows(small, settings, tmp_path / "known"))
    for row in rows:
        assert row.restored["kernel_error"] < 0.01
    (small.layout.kernels / "face.mat").unlink()
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="face has no true kernel"):
        list(restored_rows(small, settings, tmp_path / "again"))


def test_results_of_any_program_are_scored(small: DataSet, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    case = small.load("face")
    Image.fromarray(case.truth).save(folder / "face.png")
    assert case.kernel is not None
    savemat(folder / "face.mat", {"Kernel": np.pad(case.kernel, 2)})
    (row,) = scored_rows(dataclasses.replace(small, names=("face",)), folder)
    assert math.isinf(row.restored["psnr_y"])
    assert row.restored["kernel_error"] == 0
    assert row.seconds is None
    (folder / "face.mat").unlink()
    (row,) = scored_rows(dataclasses.replace(small, names=("face",)), folder)
    assert "kernel_error" not in row.restored


def test_our_own_results_are_scored_as_they_were(small: DataSet, tmp_path: Path) -> None:
    settings = settings_for(small, CHEAP)
    rows = list(restored_rows(small, settings, tmp_path / "run"))
    for ours, scored in zip(rows, scored_rows(small, tmp_path / "run"), strict=True):
        assert scored.restored == pytest.approx(ours.restored)
        assert (scored.seconds, scored.reason) == (ours.seconds, "completed")
    for path in (tmp_path / "run").glob("*.json"):
        path.unlink()
    # Without reports, floats beyond 1 are in the intensities of the LR image.
    bare = list(scored_rows(small, tmp_path / "run"))
    for ours, scored in zip(rows, bare, strict=True):
        assert scored.restored == pytest.approx(ours.restored)


def test_kernels_of_other_sizes_are_compared_in_their_place() -> None:
    kernel = np.arange(9, dtype=np.float32).reshape(3, 3)
    first, second = same_size(np.pad(kernel, 2), kernel)
    np.testing.assert_array_equal(first, second)
    second, first = same_size(kernel, np.pad(kernel, 1))
    np.testing.assert_array_equal(first, second)


def test_usrnet_with_the_true_kernel_is_the_published_ceiling() -> None:
    network = load_usrnet(reference_data() / "usrnet_tiny.pth")
    lane = open_dataset(reference_data() / "lane128", scale=4)
    expected = {"butterfly": (29.91, 19.32), "bird": (33.39, 28.58), "head": (32.51, 30.08)}
    for name, (ceiling, plain) in expected.items():
        case = lane.load(name)
        restored = evaluate.with_true_kernel(lane, case, network)
        assert restored is not None
        assert score(restored, case, scale=4)["psnr_y"] == pytest.approx(ceiling, abs=0.01)
        cubic = score(evaluate.interpolated(lane, case), case, scale=4)
        assert cubic["psnr_y"] == pytest.approx(plain, abs=0.01)


def test_the_ceiling_of_dark_noisy_images(tmp_path: Path) -> None:
    network = load_usrnet(reference_data() / "usrnet_tiny.pth")
    dark = prepared(tmp_path, gain=0.5, noise=4.0, border="extend", geometry="camera")
    for name in dark.names:
        case = dark.load(name)
        restored = evaluate.with_true_kernel(dark, case, network)
        assert restored is not None
        assert restored.shape == case.truth.shape
    case = dark.load("face")
    restored = evaluate.with_true_kernel(dark, case, network)
    assert restored is not None
    plain = score(evaluate.interpolated(dark, case), case, scale=2)["psnr_y"]
    assert score(restored, case, scale=2)["psnr_y"] > plain + 1
    shutil.rmtree(dark.layout.kernels)
    assert evaluate.with_true_kernel(dark, dark.load("face"), network) is None


def row(name: str, psnr: float, **scores: float) -> Row:
    return Row(
        name=name,
        restored={"psnr_y": psnr, **scores},
        seconds=2.0,
        peak_memory=3 * 2**20,
        interpolation={"psnr_y": 20.0, "ssim_y": 0.5},
        usrnet={},
    )


def test_means_are_of_what_all_images_have() -> None:
    mean = mean_row([row("a", 20, kernel_error=0.1), row("b", 30)])
    assert mean.restored == {"psnr_y": 25.0}
    assert mean.interpolation == {"psnr_y": 20.0, "ssim_y": 0.5}
    assert (mean.seconds, mean.peak_memory, mean.usrnet) == (2.0, 3 * 2**20, {})


def test_tables_show_what_there_is(tmp_path: Path) -> None:
    rows = [row("a", 20, kernel_error=0.1), dataclasses.replace(row("b", 30), reason="diverged")]
    table = evaluation_table(rows, title="test")
    headings = [str(column.header) for column in table.columns]
    assert headings[0] == "image"
    assert not any("USRNet" in heading for heading in headings)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["a", "b (diverged)", "mean"]
    assert cells[1] == ["20.00", "30.00", "25.00"]
    assert cells[headings.index("e_k")] == ["0.100", "–", "–"]
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert [line["image"] for line in read] == ["a", "b", "mean"]
    assert float(read[2]["psnr_y"]) == 25
    assert float(read[0]["peak_memory_mib"]) == 3
    assert read[1]["kernel_error"] == ""
    assert read[0]["usrnet_true_kernel_psnr_y"] == ""


def test_peak_memory_is_of_the_block() -> None:
    cpu = torch.device("cpu")
    with peak_memory(cpu) as peak:
        block = torch.ones(50_000_000)
    assert float(block[0]) == 1
    if peak.bytes is None:
        pytest.skip("this system does not tell how much memory a process takes")
    assert peak.bytes > 200e6
