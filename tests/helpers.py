"""What several tests share: the lists they run over, and the reference data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_blindsr.methods import Schedule
from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.physics.observation import Observation
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from napari_blindsr.solvers.device import Compute
from napari_blindsr.solvers.loop import Solver
from napari_blindsr.solvers.nonblind.closed_form import KnownKernelSolver
from napari_blindsr.types import PRECISIONS, Precision

PRECISION = cast("Precision", os.environ.get("BLINDSR_TEST_PRECISION", "float32"))
"""What "auto" is in this process; other processes need it as a setting."""

assert PRECISION in PRECISIONS[1:], PRECISION

PATIENCE = 300
"""Seconds after which a test gives up what it waits for: a busy machine is no failure."""


def chooses_bfloat16(device: torch.device) -> bool:
    """Tell what "auto" is, in place of `solvers.device._computes_bfloat16`."""
    del device
    return PRECISION == "bfloat16"


FLOAT32 = Compute(
    device=torch.device("cpu"),
    dtype=torch.float32,
    channels_last=True,
    channels_last_gradients=False,
)

QUICK = Schedule(
    image_steps=10, warmup_steps=4, structural_steps=5, inner_steps=5, random_kernels=3, channels=16
)
"""All phases of the published schedule in the shortest run."""


def alternating(schedule: Schedule = QUICK, *, seed: int = 0) -> AlternatingSolver:
    """Return the solver of MLMC, small and in float32."""
    return AlternatingSolver(
        schedule=schedule, bounded=True, kernel=Gaussian(), seed=seed, compute=FLOAT32
    )


def held_kernel(schedule: Schedule = QUICK, *, seed: int = 0) -> AlternatingSolver:
    """Return the same with a known kernel."""
    kernel = torch.full((7, 7), 1 / 49)
    return AlternatingSolver(
        schedule=schedule, bounded=False, kernel=kernel, seed=seed, compute=FLOAT32
    )


def closed_form(schedule: Schedule = QUICK, *, seed: int = 0) -> KnownKernelSolver:
    """Return the solver without an optimisation: nothing of a schedule, nothing drawn."""
    del schedule, seed
    return KnownKernelSolver(kernel=torch.full((7, 7), 1 / 49))


def closed_form_covered(schedule: Schedule = QUICK, *, seed: int = 0) -> KnownKernelSolver:
    """Return the same for observations with covered pixels, which takes some rounds."""
    del schedule, seed
    return KnownKernelSolver(kernel=torch.full((7, 7), 1 / 49), covered=True)


OPTIMISERS: dict[str, Any] = {"alternating": alternating, "held kernel": held_kernel}
"""Solvers that go step by step from random weights, as often as their schedule says."""

SOLVERS: dict[str, Any] = {
    **OPTIMISERS,
    "closed form": closed_form,
    "closed form, covered": closed_form_covered,
}
"""Every solver runs the tests of the loop; append new ones here."""


def build_solver(name: str) -> Solver[Any]:
    """Return a new solver of this name."""
    solver: Solver[Any] = SOLVERS[name]()
    return solver


def observe(shape: tuple[int, int, int] = (1, 20, 18), **options: Any) -> Observation:
    """Return an observation of smooth random planes, ×2, by default with kernels of 7×7."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, shape[0], 6, 6, generator=generator)
    planes = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bicubic")
    values: dict[str, Any] = {"scale": 2, "kernel_size": 7, **options}
    return Observation(data=planes[0].clamp(0, 1), **values)


def reference_data() -> Path:
    """Return the folder of reference data; skip the test if there is none."""
    folder = os.environ.get("BLINDSR_DATA")
    if not folder:
        pytest.skip("BLINDSR_DATA is not set: no reference data to compare with")
    return Path(folder)


def golden(name: str) -> NDArray[Any]:
    """Return one of the reference programs' values; skip the test without the data."""
    with np.load(reference_data() / "golden.npz") as values:
        array: NDArray[Any] = values[name]
    return array


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return an array as a float32 tensor."""
    return torch.from_numpy(np.asarray(array, dtype=np.float32))
