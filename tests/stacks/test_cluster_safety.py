"""A cluster of this machine answers nobody who lacks its key, and serves no web pages."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.comm.core import connect
from distributed.security import Security

from napari_blindsr.errors import ClusterError
from napari_blindsr.stacks.dask_client import local_client

EARLIER: set[tuple[str, int]] = set()
"""Where others of this process listened before."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    EARLIER.update(listening())
    with local_client(1) as client:
        yield client


def listening() -> list[tuple[str, int]]:
    """Return where this process and its children listen."""
    here = psutil.Process()
    return [
        (connection.laddr.ip, connection.laddr.port)
        for process in (here, *here.children(recursive=True))
        # psutil before 6 calls them otherwise.
        for connection in (
            process.net_connections if hasattr(process, "net_connections") else process.connections
        )("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_work_is_done(client: Client) -> None:
    assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
    assert client.scheduler_info()["address"].startswith("tls://127.0.0.1:")


def test_all_sockets_are_of_the_loopback_interface(client: Client) -> None:
    assert len(client.scheduler_info()["workers"]) == 1
    sockets = set(listening()) - EARLIER
    # Scheduler, nanny and worker.
    assert len(sockets) == 3
    assert {address for address, _ in sockets} == {"127.0.0.1"}


async def reach(address: str, **options: Any) -> None:
    comm = await connect(address, timeout=3, **options)
    try:
        await comm.write({"op": "identity", "reply": True})
        await comm.read()
    finally:
        comm.abort()


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_nobody_without_the_key_is_answered(client: Client, scheme: str) -> None:
    assert client.status == "running"
    options: dict[str, Any] = {}
    if scheme == "tls":
        # A stranger has keys of its own.
        options = Security.temporary().get_connection_args("client")
    for host, port in set(listening()) - EARLIER:
        with pytest.raises(OSError, match=r"."):
            asyncio.run(reach(f"{scheme}://{host}:{port}", **options))


def greet(place: tuple[str, int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(place, timeout=5) as plain, context.wrap_socket(plain) as secured:
        secured.sendall(b"\0" * 64)
        if not secured.recv(1):
            raise ConnectionResetError("closed")


def test_nobody_without_any_certificate_is_answered(client: Client) -> None:
    assert client.status == "running"
    for place in set(listening()) - EARLIER:
        with pytest.raises(OSError, match=r"."):
            greet(place)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_web_pages_are_served(client: Client, scheme: str) -> None:
    assert client.status == "running"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for host, port in set(listening()) - EARLIER:
        with pytest.raises((OSError, urllib.error.URLError)):
            urllib.request.urlopen(  # noqa: S310 - of this machine
                f"{scheme}://{host}:{port}/info", timeout=5, context=context
            )


def test_what_makes_keys_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Security:
        raise ImportError("cryptography")

    monkeypatch.setattr(Security, "temporary", missing)
    with pytest.raises(ClusterError, match="cluster"), local_client(1):
        pass
