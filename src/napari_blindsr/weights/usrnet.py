"""Read the weights of USRNet-tiny."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch

from napari_blindsr.engine.nonblind.usrnet import USRNet
from napari_blindsr.errors import WeightsError
from napari_blindsr.weights import find_usrnet

if TYPE_CHECKING:
    import os
    from pathlib import Path


def load_usrnet(path: str | os.PathLike[str] | None = None, *, cache: Path | None = None) -> USRNet:
    """Return USRNet-tiny with its published weights, on the CPU.

    Parameters
    ----------
    path, cache
        As in `find_usrnet`.

    Raises
    ------
    WeightsError
        As `find_usrnet`, and if the file does not hold the tensors of the network.
    """
    return read_usrnet(find_usrnet(path, cache=cache))


def read_usrnet(path: Path) -> USRNet:
    """Read USRNet-tiny from a file of tensors, whatever its checksum.

    Only tensors are read: nothing in the file is executed.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds other tensors.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged"
        raise WeightsError(f"{path} holds no weights that can be read: {reason}") from error
    if not isinstance(tensors, dict) or not all(torch.is_tensor(v) for v in tensors.values()):
        raise WeightsError(
            f"{path} holds {type(tensors).__name__}; expected a dict of tensors, USRNet-tiny's"
        )
    return USRNet.from_tensors(tensors)
