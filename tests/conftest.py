"""What makes every test the same on every machine: the precision, and one thread.

On a CPU or a GPU that computes in bfloat16 the package would choose it by itself. The variable
BLINDSR_TEST_PRECISION says what "auto" is in the tests instead: float32, or bfloat16, which any
machine can compute.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator

# Tests run side by side, and sums in another order differ in their last bits. Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from distributed import Client

from napari_blindsr.solvers import device
from tests.helpers import chooses_bfloat16
from tests.workers import two_workers


@pytest.fixture(autouse=True, scope="session")
def _same_precision() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_computes_bfloat16", chooses_bfloat16)
        yield


def pytest_collection_finish() -> None:
    """Keep what was imported out of sight of the garbage collector, which each viewer calls."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two workers for all tests that do not need a cluster of their own."""
    with two_workers() as client:
        yield client


@pytest.fixture
def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
