"""Read safetensors files of weights, such as those beside this module, into a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from napari_blindsr.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


def shipped_file(name: str) -> Path:
    """Return where a file of weights that ships with the package is."""
    return Path(__file__).parent / name


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return a file's tensors in single precision, and the record of their training."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        record = json.loads(metadata.get("training", "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path} holds no weights that can be read: {error}") from error
    return tensors, record


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give a network its tensors; raises a `WeightsError` if they are not all, and alone, there."""
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
