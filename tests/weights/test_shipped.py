"""The networks that ship with the package: small, complete, and refused if they are not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_blindsr.errors import WeightsError
from napari_blindsr.estimation.network import (
    CALIBRATION,
    KERNEL_FILE,
    KernelEstimator,
    load_kernel_estimator,
)
from napari_blindsr.solvers.nonblind.error_map import ERROR_FILE, ErrorMap, load_error_map
from napari_blindsr.solvers.nonblind.unfolded import IMAGE_FILE, UnfoldedPrior, load_image_prior
from napari_blindsr.weights import tensors
from napari_blindsr.weights.tensors import SUMS, read_tensors

FOLDER = Path(str(resources.files("napari_blindsr.weights")))

Load = Callable[[Path | None], Any]
FILES: dict[str, Load] = {
    KERNEL_FILE: load_kernel_estimator,
    IMAGE_FILE: load_image_prior,
    ERROR_FILE: load_error_map,
}


def test_all_weights_are_six_megabytes_at_most() -> None:
    found = {path.name: path.stat().st_size for path in FOLDER.rglob("*.safetensors")}
    assert set(found) == set(FILES)
    assert sum(found.values()) <= 6e6


def test_they_go_into_the_wheel() -> None:
    settings = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    assert "weights/*.safetensors" in settings
    assert "weights/SHA256SUMS" in settings


@pytest.mark.parametrize("name", FILES)
def test_their_checksums_are_written_down(name: str) -> None:
    lines = (FOLDER / SUMS).read_text(encoding="ascii").splitlines()
    found = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    assert f"{found}  {name}" in lines, "scripts/checksums writes them down"


def test_weights_that_were_changed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in FOLDER.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(tensors, "__file__", str(tmp_path / "tensors.py"))
    changed = tmp_path / KERNEL_FILE
    read_tensors(changed)
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or others"):
        read_tensors(changed)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / KERNEL_FILE
    found = load_file(FOLDER / KERNEL_FILE)
    name = min(name for name, entry in found.items() if entry.is_floating_point())
    found[name] = found[name].float().index_fill(0, torch.tensor([0]), value)
    save_file(found, path)
    with pytest.raises(WeightsError, match=f"not finite, in tensor '{name}'"):
        read_tensors(path)


def check_network(network: nn.Module) -> None:
    assert not network.training
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32, name
        assert value.device.type == "cpu", name
        assert torch.isfinite(value).all(), name
    assert not any(value.requires_grad for value in network.parameters())


def test_the_kernel_estimator_loads() -> None:
    network, calibration = load_kernel_estimator()
    assert isinstance(network, KernelEstimator)
    check_network(network)
    assert 0.3 < calibration < 3
    assert load_kernel_estimator()[0] is network


def test_the_image_prior_loads() -> None:
    network = load_image_prior()
    assert isinstance(network, UnfoldedPrior)
    check_network(network)
    assert load_image_prior() is network


def test_the_map_of_errors_loads() -> None:
    network = load_error_map()
    assert isinstance(network, ErrorMap)
    check_network(network)
    assert load_error_map() is network


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_named(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    shutil.copy(FOLDER / name, copy)
    loaded, shipped = FILES[name](copy), FILES[name](None)
    if name == KERNEL_FILE:
        assert loaded[1] == shipped[1]
        loaded, shipped = loaded[0], shipped[0]
    for key, value in shipped.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_the_calibration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kernel.safetensors"
    tensors = load_file(FOLDER / KERNEL_FILE)
    save_file(tensors, path, metadata={"training": json.dumps({"calibration": 1.7})})
    assert load_kernel_estimator(path)[1] == pytest.approx(1.7)
    _, record = read_tensors(path)
    assert record == {"calibration": 1.7}
    save_file(tensors, tmp_path / "plain.safetensors")
    assert load_kernel_estimator(tmp_path / "plain.safetensors")[1] == CALIBRATION


def refused(load: Load, path: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "text", "cut", "record"])
def test_damaged_files_are_refused(name: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    whole = (FOLDER / name).read_bytes()
    if damage == "folder":
        path.mkdir()
    elif damage == "record":
        save_file(load_file(FOLDER / name), path, metadata={"training": "{broken"})
    elif damage != "missing":
        contents = {"empty": b"", "text": b"no weights at all", "cut": whole[: len(whole) // 2]}
        path.write_bytes(contents[damage])
    refused(FILES[name], path, "holds no weights that can be read")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["missing", "extra", "shape", "other network"])
def test_other_weights_are_refused(name: str, change: str, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    tensors: dict[str, Tensor] = load_file(FOLDER / name)
    first = min(tensors)
    if change == "missing":
        del tensors[first]
    elif change == "extra":
        tensors["a.bias"] = torch.zeros(3)
        first = "a.bias"
    elif change == "shape":
        tensors[first] = tensors[first][..., None].contiguous()
    else:
        other = IMAGE_FILE if name == KERNEL_FILE else KERNEL_FILE
        tensors = load_file(FOLDER / other)
        first = ""
    save_file(tensors, path)
    refused(FILES[name], path, f"holds other weights: tensor '{first}")
