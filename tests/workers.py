"""A Dask cluster for tests: what holds of this process holds of its workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, WorkerPlugin

from napari_blindsr.solvers import device
from napari_blindsr.stacks.dask_client import local_client
from tests.helpers import chooses_bfloat16


class SamePrecision(WorkerPlugin):
    """Workers, those that replace dead ones too, take "auto" for what it is in the tests."""

    name = "precision of the tests"

    def setup(self, worker: Any) -> None:
        del worker
        device._computes_bfloat16 = chooses_bfloat16


@contextmanager
def two_workers() -> Iterator[Client]:
    """Start a cluster of two processes."""
    with local_client(2) as client:
        client.register_plugin(SamePrecision())
        yield client
