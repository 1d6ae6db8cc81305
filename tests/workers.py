"""A Dask cluster for tests: what holds of this process holds of its workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin

from napari_blindsr.solvers import device
from tests.helpers import chooses_bfloat16


class SamePrecision(WorkerPlugin):
    """Workers, those that replace dead ones too, take "auto" for what it is in the tests."""

    name = "precision of the tests"

    def setup(self, worker: Any) -> None:
        del worker
        device._computes_bfloat16 = chooses_bfloat16


@contextmanager
def two_workers() -> Iterator[Client]:
    """Start a cluster of two processes, to which others can connect by its address."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(SamePrecision())
        yield client
