"""Dask clusters: worker processes on this machine, or those of a remote scheduler."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import ClusterError, SettingsError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client


PATIENCE = 10.0
"""Seconds within which a scheduler must answer."""


@dataclass(frozen=True, kw_only=True)
class ClusterChoice:
    """Which cluster to use: so many workers of this machine, or the scheduler at an address.

    `threads` are the CPU threads of each worker of this machine; None is one.
    """

    workers: int | None = None
    address: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if (self.workers is None) == (self.address is None):
            given = "neither of workers and dask is"
            if self.workers is not None:
                given = "both of workers and dask are"
            raise SettingsError(
                f"{given} given; expected a number of workers of this "
                "machine, or the address of a scheduler"
            )
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"workers is {self.workers}; expected 1 or more")
        check_installed()

    def client(self) -> AbstractContextManager[Client]:
        """Connect to the cluster; a local one is started first."""
        if self.workers is not None:
            return local_client(self.workers, threads=self.threads or 1)
        assert self.address is not None
        return remote_client(self.address)


def check_installed() -> None:
    """Raise a `ClusterError` if distributed is not installed."""
    if find_spec("distributed") is None:
        raise ClusterError(
            "clusters need Dask's scheduler, which is not installed: "
            "pip install 'napari-blindsr[cluster]'"
        )


@contextmanager
def local_client(workers: int, *, threads: int = 1) -> Iterator[Client]:
    """Start worker processes with so many threads each; a process that dies is replaced.

    They listen on the loopback interface alone, and accept only each other and this client.

    Raises
    ------
    ClusterError
        If they cannot be started.
    """
    check_installed()
    from distributed import Client  # noqa: PLC0415

    from napari_blindsr.stacks.dask_local import IgnoreInterrupts, local_cluster  # noqa: PLC0415

    count = str(threads)
    try:
        cluster, security = local_cluster(
            workers, environment={"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        )
    except (RuntimeError, OSError) as error:
        raise ClusterError(f"the workers cannot be started: {first_line(error)}") from error
    with cluster, Client(cluster, security=security, set_as_default=False) as client:
        client.register_plugin(IgnoreInterrupts(), name="napari-blindsr-interrupts")
        yield client


@contextmanager
def remote_client(address: str, *, patience: float | None = None) -> Iterator[Client]:
    """Connect to the scheduler of a cluster.

    Parameters
    ----------
    address : str
        Such as "tcp://10.0.0.1:8786". One of tls:// takes its certificates from Dask's own
        configuration.
    patience : float, optional
        Seconds to wait for an answer; `PATIENCE` by default.

    Raises
    ------
    ClusterError
        If it does not answer.
    """
    check_installed()
    from distributed import Client  # noqa: PLC0415

    patience = PATIENCE if patience is None else patience
    try:
        # A client that cannot reach its scheduler logs errors when it is closed.
        asyncio.run(_reach(address, patience))
        client = Client(address, timeout=patience, set_as_default=False)
    except ValueError as error:
        raise ClusterError(
            f"dask is {address!r} ({first_line(error)}); expected the address of a scheduler, "
            "such as tcp://10.0.0.1:8786"
        ) from error
    except OSError as error:
        raise ClusterError(
            f"no scheduler answers at {address} within {patience:g} s ({first_line(error)}); "
            "expected the address of a Dask scheduler that is running"
        ) from error
    with client:
        yield client


def check_client(client: object) -> None:
    """Raise a `ClusterError` if this is not a usable client."""
    check_installed()
    from distributed import Client  # noqa: PLC0415

    if not isinstance(client, Client):
        raise ClusterError(f"client is a {type(client).__name__}; expected a distributed.Client")
    if client.asynchronous:
        raise ClusterError("client is asynchronous; expected one that is not")
    if client.status != "running":
        raise ClusterError(f"client is {client.status}; expected one that is connected")


async def _reach(address: str, patience: float) -> None:
    from distributed.comm.core import connect  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    options: dict[str, Any] = Security().get_connection_args("client")
    comm = await connect(address, timeout=patience, **options)
    await comm.close()
