"""Read safetensors files of weights, such as those that ship, into a network."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from napari_blindsr.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


def shipped_file(name: str) -> Path:
    """Return the path of a file of weights that ships with the package."""
    return Path(__file__).parent / name


SUMS = "SHA256SUMS"
"""Checksums beside the weights, written by scripts/checksums."""


def check_shipped(path: Path) -> None:
    """Raise a `WeightsError` if a file that ships with the package was changed."""
    if path.resolve().parent != Path(__file__).resolve().parent:
        return
    try:
        about = path.stat()
        found = _sum_of(path, about.st_size, about.st_mtime_ns)
        lines = shipped_file(SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"the weights {path} cannot be checked: {error}") from error
    expected = {name: value for value, _, name in (line.partition("  ") for line in lines)}
    if expected.get(path.name) != found:
        raise WeightsError(
            f"the weights {path} are damaged or others (SHA-256 {found[:12]}…, expected "
            f"{expected.get(path.name, 'none')[:12]}…): install napari-blindsr again"
        )


@lru_cache(maxsize=8)
def _sum_of(path: Path, _size: int, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return a file's tensors in single precision, and the record of their training.

    Raises
    ------
    WeightsError
        If it cannot be read, is a shipped one that was changed, or has values that are not finite.
    """
    check_shipped(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        record = json.loads(metadata.get("training", "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path} holds no weights that can be read: {error}") from error
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise WeightsError(f"{path} holds values that are not finite, in tensor {name!r}")
    return tensors, record


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load tensors into a network; a `WeightsError` if one is missing or not expected."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    received = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | received.keys()):
        if received.get(name) != expected.get(name):
            raise WeightsError(
                f"{path} holds other weights: tensor {name!r} is "
                f"{received.get(name, 'missing')}, expected {expected.get(name, 'none')}"
            )
    network.load_state_dict(tensors)
    network.requires_grad_(False).eval()
