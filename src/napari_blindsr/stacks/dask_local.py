"""A cluster on this machine that nobody else can reach: mutual TLS, and no HTTP server.

Whoever reaches a Dask scheduler can run code with the rights of its owner, and other users of a
machine reach its loopback interface. Each cluster therefore has its own key, made when it starts,
never written to a file, and required on both sides of every connection.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any

from distributed import Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin
from distributed.http.routing import RoutingApplication
from distributed.security import Security
from tornado.httpserver import HTTPServer

from napari_blindsr.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping


LOOPBACK = "127.0.0.1"


class _WithoutHttp:
    """Replaces the HTTP server by one that never listens."""

    def start_http_server(self, routes: Any, *_addresses: Any, **_options: Any) -> None:
        """Do nothing, instead of binding a port."""
        self.http_application = RoutingApplication(routes)
        self.http_server = HTTPServer(self.http_application)


class QuietScheduler(_WithoutHttp, Scheduler):
    """A scheduler without a web server."""


class QuietWorker(_WithoutHttp, Worker):
    """A worker without a web server."""


class IgnoreInterrupts(WorkerPlugin):
    """Makes workers ignore Ctrl-C, which only the main process handles."""

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        """Ignore SIGINT."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def local_cluster(workers: int, *, environment: Mapping[str, str]) -> tuple[SpecCluster, Security]:
    """Start worker processes; returns the cluster, and the keys that its clients need.

    A `ClusterError` if no keys can be made; other errors if the processes cannot be started.
    """
    try:
        security = Security.temporary()
    except ImportError as error:
        raise ClusterError(
            "workers of this machine need keys, which the package cryptography makes: "
            "pip install 'napari-blindsr[cluster]'"
        ) from error
    common = {"host": LOOPBACK, "protocol": "tls://", "security": security, "dashboard": False}
    worker = {
        "cls": Nanny,
        "options": {
            **common,
            "nthreads": 1,
            "worker_class": QuietWorker,
            # Dask would pause and end workers at limits that a run in one process does not have.
            "memory_limit": 0,
            # The death of a worker is not reported: another one repeats its task.
            "silence_logs": logging.CRITICAL,
            "env": dict(environment),
        },
    }
    scheduler = {"cls": QuietScheduler, "options": {**common, "port": 0}}
    cluster = SpecCluster(
        scheduler=scheduler,
        workers=dict.fromkeys(range(workers), worker),
        worker=worker,
        silence_logs=logging.CRITICAL,
        security=security,
    )
    return cluster, security
