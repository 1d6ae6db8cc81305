"""A few small pictures: enough to make batches of, within a second."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.micrographs import micrograph
from training.pictures import dead_leaves

Bank = list[list[NDArray[np.uint8]]]


@pytest.fixture(scope="session")
def bank() -> Bank:
    """Two pictures of dead leaves, one of another size in the photographs' place, micrographs."""
    rng = np.random.default_rng(0)
    leaves = [dead_leaves(160, rng) for _ in range(3)]
    return [leaves[:2], [leaves[2][:100]], [micrograph(160, rng) for _ in range(2)]]
