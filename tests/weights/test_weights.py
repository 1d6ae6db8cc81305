"""Where weights are looked for, and what is refused."""

from __future__ import annotations

import http.server
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from napari_blindsr import weights
from napari_blindsr.errors import FileError, InputError, WeightsError
from napari_blindsr.physics.kernel_files import read_kernel_folder
from napari_blindsr.solvers.nonblind.usrnet import USRNet, load_usrnet, read_usrnet
from napari_blindsr.weights import USRNET_FILE, USRNET_VARIABLE, find_usrnet
from tests.helpers import reference_data


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USRNET_VARIABLE, raising=False)


@pytest.fixture
def published() -> Path:
    return reference_data() / "usrnet_tiny.pth"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder; yields its address and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    def handle(*arguments: object) -> _Handler:
        return _Handler(*arguments, directory=str(folder))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handle) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{service.server_port}", folder
        service.shutdown()
        thread.join()


def test_the_file_named_comes_first(published: Path, tmp_path: Path) -> None:
    assert find_usrnet(published, cache=tmp_path) == published
    network = load_usrnet(str(published), cache=tmp_path)
    assert sum(value.numel() for value in network.parameters()) == 590_332
    assert not any(value.requires_grad for value in network.parameters())
    assert not list(tmp_path.iterdir())


def test_then_the_variable(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USRNET_VARIABLE, str(published))
    assert find_usrnet(cache=tmp_path) == published
    monkeypatch.setenv(USRNET_VARIABLE, str(tmp_path / "none.pth"))
    with pytest.raises(WeightsError, match=f"none.pth.*{USRNET_VARIABLE}"):
        find_usrnet(cache=tmp_path)


def test_then_the_cache(published: Path, tmp_path: Path) -> None:
    kept = tmp_path / USRNET_FILE
    shutil.copy(published, kept)
    assert find_usrnet(cache=tmp_path) == kept


def test_then_they_are_fetched_once(
    published: Path,
    tmp_path: Path,
    server: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, folder = server
    shutil.copy(published, folder / USRNET_FILE)
    monkeypatch.setattr(weights, "USRNET_ADDRESS", f"{address}/{USRNET_FILE}")
    cache = tmp_path / "cache"
    fetched = find_usrnet(cache=cache)
    assert fetched == cache / USRNET_FILE
    assert fetched.read_bytes() == published.read_bytes()
    (folder / USRNET_FILE).unlink()
    assert find_usrnet(cache=cache) == fetched


def test_a_damaged_cache_is_fetched_again(
    published: Path, tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    shutil.copy(published, folder / USRNET_FILE)
    monkeypatch.setattr(weights, "USRNET_ADDRESS", f"{address}/{USRNET_FILE}")
    (tmp_path / USRNET_FILE).write_bytes(b"half")
    assert find_usrnet(cache=tmp_path).read_bytes() == published.read_bytes()


@pytest.mark.parametrize("content", [None, b"something else"])
def test_without_the_file_the_message_says_what_to_do(
    content: bytes | None,
    tmp_path: Path,
    server: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, folder = server
    if content is not None:
        (folder / USRNET_FILE).write_bytes(content)
    monkeypatch.setattr(weights, "USRNET_ADDRESS", f"{address}/{USRNET_FILE}")
    cache = tmp_path / "cache"
    with pytest.raises(WeightsError) as caught:
        find_usrnet(cache=cache)
    text = str(caught.value)
    assert f"{address}/{USRNET_FILE}" in text
    assert str(cache / USRNET_FILE) in text
    assert USRNET_VARIABLE in text
    assert "\n" not in text
    assert not list(cache.glob("*"))


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on port 1.
    monkeypatch.setattr(weights, "USRNET_ADDRESS", "http://127.0.0.1:1/usrnet_tiny.pth")
    with pytest.raises(WeightsError, match="cannot be fetched"):
        find_usrnet(cache=tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(USRNet().state_dict(), path)
    with pytest.raises(WeightsError, match=r"has SHA-256 .*, expected d82929fc053d"):
        load_usrnet(path)
    with pytest.raises(WeightsError, match="there is no file"):
        load_usrnet(tmp_path / "none.pth")
    # The tensors themselves are USRNet-tiny's, only not the published ones.
    assert isinstance(read_usrnet(path), USRNet)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    cases: dict[str, object] = {
        "a list": [torch.zeros(1)],
        "no tensors": {"p.m_head.weight": "text"},
        "other tensors": {"weight": torch.zeros(3)},
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        with pytest.raises(WeightsError) as caught:
            read_usrnet(path)
        assert "\n" not in str(caught.value)
    for name, content in (("text", b"no weights"), ("empty", b"")):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="holds no weights") as caught:
            read_usrnet(path)
        assert "\n" not in str(caught.value)


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def test_nothing_in_the_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "malicious.pth"
    torch.save({"p.m_head.weight": _Malicious()}, path)
    with pytest.raises(WeightsError):
        read_usrnet(path)
    path.write_bytes(pickle.dumps(_Malicious(), protocol=2))
    with pytest.raises(WeightsError):
        read_usrnet(path)
    assert not (tmp_path / "executed").exists()


def test_a_folder_of_kernels(tmp_path: Path) -> None:
    first, second = np.zeros((5, 5)), np.zeros((9, 9))
    first[2, 1:4], second[4, 4] = 0.5, 7
    np.save(tmp_path / "b.npy", first)
    savemat(tmp_path / "a.mat", {"Kernel": second})
    (tmp_path / "notes.txt").write_text("left alone")
    kernels = read_kernel_folder(tmp_path)
    assert kernels.tensor.shape == (2, 9, 9)
    torch.testing.assert_close(kernels.tensor.sum(dim=(1, 2)), torch.ones(2))
    assert float(kernels.tensor[0].max()) == 1
    assert float(kernels.tensor[1].max()) == pytest.approx(1 / 3)


def test_folders_that_hold_no_kernels(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is no folder"):
        read_kernel_folder(tmp_path / "none")
    with pytest.raises(FileError, match="holds no kernels"):
        read_kernel_folder(tmp_path)
    np.save(tmp_path / "a.npy", np.ones((3, 4)))
    with pytest.raises(InputError, match=r"a\.npy.*3 × 4"):
        read_kernel_folder(tmp_path)
    np.save(tmp_path / "a.npy", -np.ones((3, 3)))
    with pytest.raises(InputError, match=r"a\.npy.*sum -9"):
        read_kernel_folder(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(FileError, match=r"a\.npy"):
        read_kernel_folder(tmp_path)
