"""Tiles of one image, or of large planes, as tasks of a Dask cluster: real workers, killed ones."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.typing import NDArray

from napari_blindsr import Settings, StackOptions, StackResult, restore_stack
from napari_blindsr.errors import InputError, OutOfMemoryError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images.files import open_image
from napari_blindsr.images.tiling import Box, count_tiles, shared_side
from napari_blindsr.physics.kernels import Automatic
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.stacks import dask_executor
from napari_blindsr.stacks.batch import digest, file_job, open_file, restore_file
from napari_blindsr.stacks.dask_executor import ClusterExecutor
from napari_blindsr.stacks.dask_tasks import tile_payload
from tests.cli.command_line import run_here
from tests.helpers import PATIENCE, PRECISION
from tests.stacks.test_cluster import busy_worker, check_same
from tests.stacks.test_restore_stack import KERNEL

TILED = Settings(
    scale=2, kernel="known", finish="measurement", threads=1, precision=PRECISION, tile=256
)


def cells(height: int = 140, width: int = 150, *, seed: int = 0) -> NDArray[np.uint16]:
    """Return simulated cells, (height, width), which ×2 are four tiles of 256."""
    side = min(width, 300)
    photons = fluorescent_cells((height, side), seed=seed)
    image = Camera().expose(photons, seed=seed).astype(np.uint16)
    return np.hstack([image, image[::-1, ::-1]] * (width // side))[:, :width]


def without(result: StackResult, words: str) -> StackResult:
    """Return a result without the note that has some words, which must be there."""
    kept = tuple(note for note in result.notes if words not in note)
    assert len(kept) == len(result.notes) - 1
    return replace(result, notes=kept)


@pytest.mark.parametrize(
    ("axes", "border", "finish"),
    [
        ("YX", "extend", "prior"),
        ("YXS", "circular", "measurement"),
        ("TYX", "extend", "measurement"),
    ],
)
def test_the_result_is_that_of_one_process(
    client: Client, axes: str, border: Any, finish: Any
) -> None:
    image = cells(32, 280)
    if axes == "YXS":
        image = np.stack([image, image[::-1], image[:, ::-1]], axis=-1)
    if axes == "TYX":
        image = np.stack([image, cells(32, 280, seed=1), cells(32, 280, seed=2)])
        image[1, 10:15, 60:70] = 65535
    settings = replace(TILED, kernel=Automatic(), border=border, finish=finish)
    mask = np.zeros((32, 280))
    mask[20:26, 120:130] = 1
    options = StackOptions(
        kernels="plane",
        dtype="source" if axes == "TYX" else "float32",
        region=Box(top=3, left=2, bottom=30, right=277) if axes == "TYX" else None,
    )
    given = {"axes": axes, "options": options, "mask": None if finish == "prior" else mask}
    reports: list[Progress] = []
    expected = restore_stack(image, settings, **given)  # type: ignore[arg-type]
    found = restore_stack(
        image,
        settings,
        client=client,
        progress=reports.append,
        **given,  # type: ignore[arg-type]
    )
    check_same(found, expected)
    assert found.example is not None
    assert found.example.tiles == 3
    if axes == "TYX":
        assert {report.unit for report in reports} == {"plane"}
        assert (reports[-1].step, reports[-1].total) == (3, 3)
    else:
        tiles = [report for report in reports if report.unit == "tile"]
        assert (tiles[-1].step, tiles[-1].total) == (3, 3)
        assert "tile 3 of 3, 2 workers" in tiles[-1].stage


def test_one_image_is_shared_out_so_that_every_worker_has_something_to_do(client: Client) -> None:
    image = cells(60, 540)
    held = replace(TILED, tile="auto")
    found = restore_stack(image, held, axes="YX", known_kernel=KERNEL, client=client)
    same = restore_stack(image, replace(TILED, tile=540), axes="YX", known_kernel=KERNEL)
    assert found.example is not None
    assert found.example.tiles == 2
    assert any("tiles of at most 540 pixels a side, to give every" in n for n in found.notes)
    check_same(without(found, "every worker"), same)
    whole = restore_stack(
        image, replace(held, tile=None), axes="YX", known_kernel=KERNEL, client=client
    )
    assert whole.example is not None
    assert whole.example.tiles == 1
    enough = restore_stack(
        np.stack([image, image]), held, axes="TYX", known_kernel=KERNEL, client=client
    )
    assert enough.example is not None
    assert enough.example.tiles == 1
    assert not enough.notes


@pytest.mark.parametrize(
    ("shape", "planes", "workers", "tile", "side"),
    [
        ((512, 512), 1, 1, None, None),
        ((512, 512), 1, 2, None, 512),
        ((512, 512), 1, 40, None, 512),
        ((1024, 1024), 1, 5, None, 684),
        ((1024, 1024), 3, 5, None, 1024),
        ((1024, 1024), 5, 5, None, None),
        ((200, 200), 1, 8, None, None),
        ((4096, 4096), 1, 4, 1536, 1536),
        ((1100, 1100), 1, 9, 1536, 734),
    ],
)
def test_tiles_are_as_large_as_the_workers_allow(
    shape: tuple[int, int], planes: int, workers: int, tile: int | None, side: int | None
) -> None:
    found = shared_side(shape, scale=2, planes=planes, workers=workers, tile=tile)
    assert found == side
    if side is not None and side > 600:
        assert planes * count_tiles(shape, 2, side) >= workers


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(client: Client) -> None:
    image = cells(32, 400)
    killed: list[int] = []

    def kill(report: Progress) -> None:
        if report.unit == "tile" and report.step == 1 and not killed:
            killed.append(busy_worker(client, "run_tile"))
            os.kill(killed[0], signal.SIGKILL)

    slow = replace(TILED, finish="prior")
    expected = restore_stack(image, slow, axes="YX", known_kernel=KERNEL)
    found = restore_stack(image, slow, axes="YX", known_kernel=KERNEL, client=client, progress=kill)
    assert killed
    check_same(found, expected)
    client.wait_for_workers(2, timeout=PATIENCE)


def test_no_more_is_held_than_a_few_tiles(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.wait_for_workers(2, timeout=PATIENCE)
    asked: list[int] = []

    def counted(plan: Any, number: int) -> bytes:
        asked.append(number)
        return tile_payload(plan, number)

    most = 0

    def look(report: Progress) -> None:
        nonlocal most
        if report.unit == "tile":
            most = max(most, len(asked) - report.step)

    monkeypatch.setattr(dask_executor, "tile_payload", counted)
    image = cells(40, 1100)
    restore_stack(image, TILED, axes="YX", known_kernel=KERNEL, client=client, progress=look)
    assert asked == list(range(9))
    assert most <= 4


def test_a_stop_keeps_the_tiles_that_are_done(client: Client, tmp_path: Path) -> None:
    image = cells(40, 1100)

    def after_two(report: Progress) -> bool:
        return report.unit == "tile" and report.step >= 2

    found = restore_stack(
        image, TILED, axes="YX", known_kernel=KERNEL, client=client, progress=after_two
    )
    expected = restore_stack(image, TILED, axes="YX", known_kernel=KERNEL)
    assert found.reason is StopReason.STOPPED
    there = np.isfinite(found.image)
    assert 0.15 < there.mean() < 0.9
    np.testing.assert_array_equal(found.image[there], expected.image[there])
    assert any("of 9 tiles were restored; the others have no" in note for note in found.notes)

    np.save(tmp_path / "in.npy", image)
    options = StackOptions()
    for ending in ("npy", "ome.zarr"):
        job = file_job(tmp_path / "in.npy", tmp_path / f"{ending[-4:]}.{ending}")
        run = digest(job, TILED, options, axes="YX", known=KERNEL, mask=None)
        opened = open_file(job, TILED, options, axes="YX", known=KERNEL)
        steps = restore_file(opened, run=run, executor=ClusterExecutor(client))
        for report in steps:
            if after_two(report):
                steps.send(True)
        # What can be gone on with has not its name yet.
        assert job.image.exists() == (ending == "npy")
    there = np.isfinite(np.load(tmp_path / "npy.npy"))
    assert 0.15 < there.mean() < 0.9
    opened = open_file(job, TILED, options, axes="YX", known=KERNEL)
    for _ in restore_file(opened, run=run, executor=ClusterExecutor(client)):
        pass
    np.testing.assert_array_equal(open_image(job.image).array[:, :], expected.image)


def test_damaged_planes_are_reported_and_the_rest_delivered(client: Client) -> None:
    image = np.stack([cells(), cells(seed=1), cells(seed=2)]).astype(np.float32)
    image[1] = np.nan
    expected = restore_stack(image, TILED, axes="TYX", known_kernel=KERNEL)
    found = restore_stack(image, TILED, axes="TYX", known_kernel=KERNEL, client=client)
    assert [record.index for record in found.failures] == [(1,)]
    check_same(found, expected)
    constant = np.full_like(image[0], 7)
    with pytest.raises(InputError, match="constant"):
        restore_stack(constant, TILED, axes="YX", known_kernel=KERNEL, client=client)


def test_tiles_are_made_smaller_where_memory_is_short(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(payload: bytes) -> Any:
        import pickle  # noqa: PLC0415

        from napari_blindsr import errors  # noqa: PLC0415
        from napari_blindsr.stacks import dask_tasks  # noqa: PLC0415

        _, part, _ = pickle.loads(payload)  # noqa: S301 - our own
        if part.inner.shape[1] > 140:
            return errors.OutOfMemoryError("the device ran out of memory")
        return dask_tasks.run_tile(payload)

    monkeypatch.setattr(dask_executor, "run_tile", short)
    image = cells(40, 300)
    wide = replace(TILED, tile=512)
    found = restore_stack(image, wide, axes="YX", known_kernel=KERNEL, client=client)
    expected = restore_stack(image, TILED, axes="YX", known_kernel=KERNEL)
    np.testing.assert_array_equal(found.image, expected.image)
    assert any("memory was short" in note for note in found.records[0].notes)
    monkeypatch.setattr(dask_executor, "SMALLEST_TILE", 400)
    with pytest.raises(OutOfMemoryError):
        restore_stack(image, wide, axes="YX", known_kernel=KERNEL, client=client)


def test_the_command_hands_out_tiles(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    image = cells()
    np.save(tmp_path / "in.npy", image)
    np.save(tmp_path / "kernel.npy", KERNEL)
    scheduler = client.scheduler
    assert scheduler is not None
    command = (
        "restore in.npy -o out.ome.zarr -s 2 --kernel kernel.npy --finish measurement --tile 256 "
        f"--threads 1 --precision {PRECISION} --dask {scheduler.address}"
    )
    assert run_here(command, monkeypatch, tmp_path) == 0
    assert "1 plane in" in capfd.readouterr().err
    expected = restore_stack(image, TILED, axes="YX", known_kernel=KERNEL)
    np.testing.assert_array_equal(open_image(tmp_path / "out.ome.zarr").array[:, :], expected.image)
