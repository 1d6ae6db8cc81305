"""A few small pictures: enough to make batches of, within a second."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training import joint
from training.micrographs import micrograph
from training.pictures import dead_leaves

Bank = list[list[NDArray[np.uint8]]]


@pytest.fixture(scope="session")
def bank() -> Bank:
    """Two pictures of dead leaves, one of another size in the photographs' place, micrographs."""
    rng = np.random.default_rng(0)
    leaves = [dead_leaves(160, rng) for _ in range(3)]
    return [leaves[:2], [leaves[2][:100]], [micrograph(160, rng) for _ in range(2)]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches of both networks small, and few of those that they are judged by."""
    shapes = {scale: (max(40, 16 * scale), 2) for scale in joint.SHAPES}
    monkeypatch.setattr(joint, "SHAPES", shapes)
    monkeypatch.setattr(joint, "PHOTOGRAPHS", ("camera",))
    monkeypatch.setattr(joint, "JUDGED_SIDE", 64)
