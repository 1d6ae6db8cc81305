"""Stacks and files on a Dask cluster: real workers, killed and lost ones among them."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from distributed import Client, LocalCluster
from numpy.typing import NDArray

from napari_blindsr import Settings, StackOptions, StackResult, restore_stack
from napari_blindsr.errors import ClusterError, FileError, InputError, SettingsError
from napari_blindsr.images.files import open_image
from napari_blindsr.images.lazy import file_of
from napari_blindsr.images.tiling import Box
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.stacks import dask_client
from napari_blindsr.stacks.dask_client import ClusterChoice, remote_client
from napari_blindsr.stacks.dask_executor import ClusterExecutor
from napari_blindsr.stacks.dask_tasks import as_payload
from napari_blindsr.stacks.plan import prepare_stack
from tests.cli.command_line import check_refused, run_here
from tests.helpers import PATIENCE, PRECISION
from tests.stacks.test_restore_stack import HELD, KERNEL, planes

# Workers compute with one thread; sums in another order differ in their last bits.
READ = Settings(scale=2, finish="measurement", threads=1, precision=PRECISION)
KNOWN = replace(READ, kernel="known")
SLOW = replace(KNOWN, finish="prior")
"""A second a plane or so: long enough to be interrupted."""


def check_same(found: StackResult, expected: StackResult) -> None:
    """Check that two results differ in nothing but the time that they took."""
    np.testing.assert_array_equal(found.image, expected.image)
    assert len(found.kernels) == len(expected.kernels)
    for one, other in zip(found.kernels, expected.kernels, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)
        assert (one.center, one.indices) == (other.center, other.indices)
    if expected.covered is None:
        assert found.covered is None
    else:
        np.testing.assert_array_equal(found.covered, expected.covered)
    timeless = [[{**r.to_json(), "seconds": 0} for r in x.records] for x in (found, expected)]
    assert timeless[0] == timeless[1]
    assert (found.offset, found.notes) == (expected.offset, expected.notes)
    assert found.learned_priors == expected.learned_priors


@pytest.mark.parametrize("kernels", ["plane", "channel", "shared"])
def test_the_result_is_that_of_one_process(client: Client, kernels: Any) -> None:
    image = planes(6, side=40).reshape(3, 2, 40, 40)
    image[1, 1, 5:9, 5:9] = 65535
    options = StackOptions(
        kernels=kernels,
        planes="T=1:",
        region=Box(top=2, left=4, bottom=38, right=36),
        dtype="source",
    )
    reports: list[Progress] = []
    mask = np.zeros((40, 40))
    mask[20:24, 20:24] = 1
    expected = restore_stack(image, READ, axes="TCYX", options=options, mask=mask)
    found = restore_stack(
        image,
        READ,
        axes="TCYX",
        options=options,
        mask=mask,
        client=client,
        progress=reports.append,
    )
    check_same(found, expected)
    assert found.image.dtype == np.uint16
    assert (reports[-1].step, reports[-1].total, reports[-1].unit) == (4, 4, "plane")
    assert any("2 workers" in report.stage for report in reports)
    assert any("estimating the blur" in report.stage for report in reports) == (kernels != "plane")


@pytest.mark.parametrize("axes", ["YXZ", "SYTX", "YX"])
def test_axes_and_known_kernels(client: Client, axes: str) -> None:
    image = np.stack([planes(3), planes(3)[::-1], planes(3)]).astype(np.float32)
    shaped = {
        "YXZ": np.moveaxis(image[0], 0, -1),
        "SYTX": image.transpose(1, 2, 0, 3),
        "YX": image[0, 0],
    }[axes]
    expected = restore_stack(shaped, KNOWN, axes=axes, known_kernel=KERNEL)
    found = restore_stack(shaped, KNOWN, axes=axes, known_kernel=KERNEL, client=client)
    check_same(found, expected)


def test_failed_planes_are_reported_and_the_rest_delivered(client: Client) -> None:
    image = planes(4).astype(np.float32)
    image[1] = np.nan
    expected = restore_stack(image, READ, axes="TYX")
    found = restore_stack(image, READ, axes="TYX", client=client)
    assert [record.index for record in found.failures] == [(1,)]
    check_same(found, expected)
    with pytest.raises(InputError, match="constant"):
        restore_stack(np.ones((3, 32, 32)), READ, axes="TYX", client=client)


def busy_worker(client: Client, task: str = "restore_plane") -> int:
    """Return the process of a worker that is at a task."""
    processes = client.run(os.getpid)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for worker, tasks in client.call_stack().items():
            if any(key.startswith(task) for key in tasks):
                process: int = processes[worker]
                return process
        time.sleep(0.01)
    raise AssertionError("no worker is at work")


def test_a_killed_worker_changes_nothing(client: Client) -> None:
    image = planes(6, side=48)
    killed: list[int] = []

    def kill(report: Progress) -> None:
        if report.step == 1 and not killed:
            killed.append(busy_worker(client))
            os.kill(killed[0], signal.SIGKILL)

    expected = restore_stack(image, SLOW, axes="TYX", known_kernel=KERNEL)
    found = restore_stack(
        image, SLOW, axes="TYX", known_kernel=KERNEL, client=client, progress=kill
    )
    assert killed
    check_same(found, expected)
    client.wait_for_workers(2, timeout=PATIENCE)
    assert killed[0] not in client.run(os.getpid).values()


def test_a_plane_that_ends_its_workers_is_a_failed_plane(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_blindsr.stacks import dask_executor  # noqa: PLC0415

    def deadly(payload: bytes, kernel: NDArray[Any] | None) -> Any:
        import os as system  # noqa: PLC0415
        import pickle  # noqa: PLC0415

        from napari_blindsr.stacks.dask_tasks import restore_plane  # noqa: PLC0415

        if pickle.loads(payload)[1] == [(1,)]:  # noqa: S301 - our own
            system._exit(1)
        return restore_plane(payload, kernel)

    def allow(failures: int) -> None:
        def change(dask_scheduler: Any) -> None:
            dask_scheduler.allowed_failures = failures

        client.run_on_scheduler(change)

    client.wait_for_workers(2, timeout=PATIENCE)
    monkeypatch.setattr(dask_executor, "restore_plane", deadly)
    allow(0)
    try:
        # As many planes as workers: none waits in line behind the deadly one.
        found = restore_stack(planes(2), KNOWN, axes="TYX", known_kernel=KERNEL, client=client)
    finally:
        allow(3)
    assert "ended its worker several times" in str(found.failures[0].error)
    assert np.isfinite(found.image[0]).all()
    assert np.isnan(found.image[1]).all()


def test_a_stop_keeps_what_is_done_and_cancels_the_rest(client: Client) -> None:
    image = planes(12)
    found = restore_stack(
        image,
        KNOWN,
        axes="TYX",
        known_kernel=KERNEL,
        client=client,
        progress=lambda report: report.step >= 2,
    )
    assert found.reason is StopReason.STOPPED
    done = [record.index[0] for record in found.records]
    assert 2 <= len(done) < 12
    expected = restore_stack(image, KNOWN, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(found.image[done], expected.image[done])
    left = sorted(set(range(12)) - set(done))
    assert np.isnan(found.image[left]).all()
    deadline = time.monotonic() + PATIENCE
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(client.processing().values())


def test_no_more_is_handed_out_than_a_few_planes(client: Client) -> None:
    client.wait_for_workers(2, timeout=PATIENCE)
    executor = ClusterExecutor(client)
    most = 0

    class Array:
        """Counts which planes are asked for; the number that are done is known."""

        shape, dtype, ndim = (16, 32, 32), np.dtype(np.uint16), 3
        asked = 0

        def __getitem__(self, index: Any) -> NDArray[Any]:
            self.asked += 1
            block: NDArray[Any] = planes(1)[0][index[1:]]
            return block

    array = Array()

    def look(report: Progress) -> None:
        nonlocal most
        most = max(most, array.asked - report.step)

    restore_stack(array, HELD, axes="TYX", known_kernel=KERNEL, client=client, progress=look)
    assert array.asked == 16
    # Those that are out, and one that was read since the last report.
    assert most <= 5
    assert executor.describe().startswith("2 workers of tcp://127.0.0.1:")


def test_the_name_of_a_file_is_sent_and_not_its_pixels(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = planes(3, side=64)
    np.save(tmp_path / "a.npy", image)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, compression="zlib", metadata={"axes": "TYX"})
    monkeypatch.chdir(tmp_path)
    expected = restore_stack(image, KNOWN, axes="TYX", known_kernel=KERNEL)
    for name in ("a.npy", "a.ome.tif"):
        # Workers are in another folder: the name is made a full one.
        array = open_image(name, axes="TYX").array
        assert file_of(array) == tmp_path / name
        problem = prepare_stack(array, KNOWN, axes="TYX", known_kernel=KERNEL)
        assert len(as_payload(problem, [(1,)], send=False)) < 4000
        assert (
            image[1].nbytes < len(as_payload(problem, [(1,)], send=True)) < image[1].nbytes + 4000
        )
        found = restore_stack(array, KNOWN, axes="TYX", known_kernel=KERNEL, client=client)
        check_same(found, expected)
    assert file_of(image) is None


def test_workers_that_do_not_see_a_file_are_sent_its_planes(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_blindsr.stacks import dask_executor  # noqa: PLC0415

    image = planes(2)
    np.save(tmp_path / "a.npy", image)
    array = open_image(tmp_path / "a.npy", axes="TYX").array

    def unlike(_: Path) -> int:
        import os as system  # noqa: PLC0415

        # As if each process saw a disk of its own.
        return system.getpid()

    monkeypatch.setattr(dask_executor, "stamp", unlike)
    found = restore_stack(array, KNOWN, axes="TYX", known_kernel=KERNEL, client=client)
    assert any("its planes were sent to them" in note for note in found.notes)
    expected = restore_stack(image, KNOWN, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(found.image, expected.image)


def test_a_run_waits_for_workers_and_ends_when_the_cluster_is_lost() -> None:
    stages: list[str] = []
    with (
        LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as own,
        Client(own, set_as_default=False) as client,
    ):

        def come_and_go(report: Progress) -> bool:
            stages.append(report.stage)
            if len(stages) == 3:
                own.scale(1)
            if report.step == 2 and own.status.name == "running":
                own.close()
            return False

        with pytest.raises(ClusterError, match="the cluster was lost"):
            restore_stack(
                planes(8),
                HELD,
                axes="TYX",
                known_kernel=KERNEL,
                client=client,
                progress=come_and_go,
            )
    assert stages[0] == "waiting for a worker"


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"client is a str; expected a distributed\.Client"):
        restore_stack(planes(1), READ, axes="TYX", client="tcp://127.0.0.1:1")  # type: ignore[arg-type]


def test_other_versions_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_blindsr.stacks import dask_executor  # noqa: PLC0415

    monkeypatch.setattr(dask_executor, "installed_version", lambda: "0.0.1")
    with pytest.raises(ClusterError, match=r"worker tcp://.* has napari-blindsr 0\.0\.1; expected"):
        restore_stack(planes(1), READ, axes="TYX", client=client)


def test_a_scheduler_that_cannot_be_reached(
    free_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    assert dask_client.PATIENCE <= 10
    start = time.monotonic()
    with (
        pytest.raises(ClusterError, match="no scheduler answers"),
        remote_client(address, patience=0.5),
    ):
        pass
    assert time.monotonic() - start < 3
    for bad in ("nonsense", "tcp://127.0.0.1", "mail://127.0.0.1:25"):
        with (
            pytest.raises(ClusterError, match="expected the address of a scheduler"),
            remote_client(bad),
        ):
            pass
    monkeypatch.setattr(dask_client, "PATIENCE", 0.5)
    np.save(tmp_path / "in.npy", planes(2))
    check_refused(
        f"restore in.npy -o out.ome.zarr --axes TYX -s 2 --dask {address}",
        f"no scheduler answers at {address} within 0.5 s",
        tmp_path,
        monkeypatch,
        capfd,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--workers 0", "workers is 0; expected 1 or more"),
        ("--workers 2 --dask tcp://127.0.0.1:1", "both of workers and dask"),
        ("--workers 2 --report r.json", "of what a cluster restores, are written beside"),
    ],
)
def test_bad_requests_are_refused(
    arguments: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "in.npy", planes(1)[0])
    command = f"restore in.npy -o out.tif -s 2 {arguments}"
    check_refused(command, words, tmp_path, monkeypatch, capfd)


def test_the_extra_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "in.npy", planes(1)[0])
    monkeypatch.setitem(sys.modules, "distributed", None)
    command = "restore in.npy -o out.tif -s 2 --workers 2"
    words = "pip install 'napari-blindsr[cluster]'"
    check_refused(command, words, tmp_path, monkeypatch, capfd)
    with pytest.raises(SettingsError, match="neither"):
        ClusterChoice()


def test_files_are_restored_at_once(
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, plane in enumerate(planes(5)):
        tifffile.imwrite(tmp_path / f"{number}.tif", plane)
    np.save(tmp_path / "bad.npy", np.full((24, 24), np.nan))
    np.save(tmp_path / "kernel.npy", KERNEL)
    np.save(tmp_path / "stack.npy", planes(3))
    rest = (
        "-s 2 --kernel kernel.npy --finish measurement --threads 1 --format zarr "
        f"--precision {PRECISION}"
    )
    files = "0.tif 1.tif 2.tif 3.tif 4.tif bad.npy"
    scheduler = client.scheduler
    assert scheduler is not None
    command = f"restore {files} -d out {rest} --dask {scheduler.address}"
    assert run_here(command, monkeypatch, tmp_path) == 1
    said = capsys.readouterr().err
    assert "2 workers of tcp://127.0.0.1:" in said
    assert "bad.npy: not restored: " in said
    assert said.count("wrote out/") == 5
    assert run_here(f"restore {files} -d alone {rest}", monkeypatch, tmp_path) == 1
    for number in range(5):
        name = f"{number}_x2.ome.zarr"
        found, expected = (open_image(tmp_path / at / name).array for at in ("out", "alone"))
        np.testing.assert_array_equal(found[:, :], expected[:, :])
    assert run_here(command, monkeypatch, tmp_path) == 1
    assert capsys.readouterr().err.count("already complete") == 5


@pytest.mark.slow
def test_the_command_starts_workers_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    image = planes(3)
    np.save(tmp_path / "in.npy", image)
    np.save(tmp_path / "kernel.npy", KERNEL)
    command = "restore in.npy -o out.npy --axes TYX -s 2 --kernel kernel.npy --finish measurement"
    command += f" --precision {PRECISION} --workers 2"
    assert run_here(command, monkeypatch, tmp_path) == 0
    said = capfd.readouterr().err
    assert "2 workers of tls://127.0.0.1:" in said
    assert "Traceback" not in said
    expected = restore_stack(image, KNOWN, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.image)


def test_a_file_that_is_damaged_on_the_way_fails_its_planes(client: Client, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", planes(3))
    array = open_image(tmp_path / "in.npy", axes="TYX").array

    # It was whole when it was opened.
    os.truncate(tmp_path / "in.npy", 200)
    with pytest.raises(FileError, match="cannot read"):
        restore_stack(array, KNOWN, axes="TYX", known_kernel=KERNEL, client=client)
