"""Read the networks that ship with the package: safetensors files beside this module."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from napari_blindsr.engine.estimator import KernelEstimator
from napari_blindsr.engine.nonblind.error_map import ErrorMap
from napari_blindsr.engine.nonblind.unfolded import LEVELS, WIDTHS, UnfoldedPrior
from napari_blindsr.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

CALIBRATION = 1.0
"""By what the kernel estimator's standard deviations are multiplied, unless its file tells: too
large for what was trained on, right for photographs, too small for stranger pictures; see
docs/benchmarks."""

KERNEL_FILE = "kernel.safetensors"
IMAGE_FILE = "image.safetensors"
ERROR_FILE = "error.safetensors"


@cache
def load_kernel_estimator(path: Path | None = None) -> tuple[KernelEstimator, float]:
    """Return the kernel estimator on the CPU, and its calibration.

    Parameters
    ----------
    path : Path, optional
        A file of weights from a training; by default the one that ships.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds other tensors.
    """
    file = path if path is not None else _shipped(KERNEL_FILE)
    tensors, record = read_tensors(file)
    network = KernelEstimator()
    _fill(network, tensors, file)
    return network, float(record.get("calibration", CALIBRATION))


@cache
def load_image_prior(path: Path | None = None) -> UnfoldedPrior:
    """Return the image prior on the CPU; parameters as in `load_kernel_estimator`."""
    file = path if path is not None else _shipped(IMAGE_FILE)
    tensors, _ = read_tensors(file)
    network = UnfoldedPrior()
    _fill(network, tensors, file)
    return network


@cache
def load_error_map(path: Path | None = None) -> ErrorMap:
    """Return the map of the image prior's errors on the CPU; parameters as in the others."""
    file = path if path is not None else _shipped(ERROR_FILE)
    tensors, _ = read_tensors(file)
    network = ErrorMap(WIDTHS[0], LEVELS)
    _fill(network, tensors, file)
    return network


def _shipped(name: str) -> Path:
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


def _fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
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
