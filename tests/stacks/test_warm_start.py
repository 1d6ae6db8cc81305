"""Warm starts: an optimisation that begins where that of the plane before has ended."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client
from numpy.typing import NDArray

from napari_blindsr import Settings, StackOptions, restore, restore_stack
from napari_blindsr.errors import SettingsError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images.axes import chain_axis
from napari_blindsr.images.files import open_image
from napari_blindsr.methods import CONTINUED, Schedule
from napari_blindsr.progress import drained
from napari_blindsr.stacks.batch import digest, file_job, open_file, restore_file
from napari_blindsr.stacks.plan import prepare_stack
from napari_blindsr.stacks.shared_kernel import COLD_START, WarmStarts
from tests.cli.command_line import check_refused, run_here
from tests.stacks.test_cluster import check_same
from tests.stacks.test_restore_stack import KERNEL

QUICK = Schedule(image_steps=6, warmup_steps=4, structural_steps=3, channels=4)
MLMC = Settings(scale=1, method="mlmc", schedule=QUICK, threads=1)
WARM = StackOptions(kernels="plane", warm_start=True)


def series(count: int, *, side: int = 40, seed: int = 0) -> NDArray[np.uint16]:
    """Return cells that drift by a pixel and a half a frame, (count, side, side)."""
    photons = fluorescent_cells((2 * side + 3 * count,) * 2, seed=seed)
    frames = []
    for frame in range(count):
        moved = photons[3 * frame : 3 * frame + 2 * side, : 2 * side]
        binned = moved.reshape(side, 2, side, 2).sum(axis=(1, 3))
        frames.append(Camera().expose(binned, seed=frame))
    return np.stack(frames).astype(np.uint16)


def test_few_warm_steps_explain_what_cold_ones_need_more_for() -> None:
    schedule = Schedule(image_steps=80, warmup_steps=40, structural_steps=0, channels=8)
    settings = replace(MLMC, schedule=schedule)
    problem = prepare_stack(series(2, side=34), settings, axes="TYX", options=WARM)
    first = drained(problem.run((0,), None))
    warm = drained(problem.run((1,), None, start=first.weights))
    few = round(CONTINUED * 80)
    assert (len(first.trace), len(warm.trace)) == (80, few)
    short = schedule.scaled(few)
    colds = [
        drained(replace(problem, settings=replace(settings, schedule=cold)).run((1,), None))
        for cold in (replace(short, from_mean=False), short)
    ]
    long = drained(problem.run((1,), None))
    losses = [float(result.trace[-5:].mean()) for result in (warm, *colds, long)]
    assert losses[0] < 0.5 * losses[1]
    # A kernel that begins at its family's mean is ahead by itself.
    assert losses[0] < 0.8 * losses[2]
    assert losses[0] < 1.5 * losses[3]


@pytest.mark.parametrize("method", ["mlmc", "ddsr"])
@pytest.mark.parametrize("kernels", ["plane", "channel"])
def test_a_plane_begins_with_what_the_one_before_has_ended_with(method: str, kernels: Any) -> None:
    image = np.stack([series(2, side=34), series(2, side=34, seed=1)], axis=1)
    settings = replace(MLMC, method=method)
    options = StackOptions(kernels=kernels, warm_start=True)
    found = restore_stack(image, settings, axes="TCYX", options=options)
    cold = restore_stack(image, settings, axes="TCYX", options=replace(options, warm_start=False))
    np.testing.assert_array_equal(found.image[0], cold.image[0])
    assert (found.image[1] != cold.image[1]).any()
    again = restore_stack(image, settings, axes="TCYX", options=options)
    check_same(again, found)
    for channel in (0, 1):
        # Channels know nothing of each other.
        alone = restore_stack(
            image[:, channel : channel + 1], settings, axes="TCYX", options=options
        )
        np.testing.assert_array_equal(alone.image[:, 0], found.image[:, channel])
    assert found.example is not None
    assert found.example.weights is None
    assert not found.notes


def test_a_known_kernel_and_a_finish_take_warm_starts_as_well() -> None:
    settings = replace(MLMC, kernel="known", finish="measurement")
    options = StackOptions(warm_start=True)
    found = restore_stack(series(2), settings, axes="TYX", known_kernel=KERNEL, options=options)
    assert np.isfinite(found.image).all()


def test_weights_are_handed_on_and_kept_apart() -> None:
    image = series(2)
    problem = prepare_stack(image, MLMC, axes="TYX", options=WARM)
    result = drained(problem.run((0,), None))
    weights = result.weights
    assert weights is not None
    assert weights.kernel is not None
    before = {name: value.clone() for name, value in weights.image.items()}
    for _ in problem.run((1,), None, start=weights):
        pass
    # The run that began with them has left them alone.
    assert all(torch.equal(before[name], weights.image[name]) for name in before)
    assert "weights" not in result.report()
    assert restore(image[0], scale=1, method="mlmc", schedule=QUICK).weights is None


@pytest.mark.parametrize(
    ("axes", "lengths", "expected"),
    [
        ("TCZ", (3, 2, 4), 0),
        ("CZT", (2, 4, 3), 2),
        ("TZ", (1, 4), 1),
        ("CQ", (2, 3), 1),
        ("C", (4,), None),
        ("T", (1,), None),
        ("", (), None),
    ],
)
def test_planes_follow_each_other_in_time_or_else_in_depth(
    axes: str, lengths: tuple[int, ...], expected: int | None
) -> None:
    assert chain_axis(axes, [range(2, 2 + n) for n in lengths]) == expected


def test_sequences_come_one_after_the_other_and_gaps_start_anew() -> None:
    image = np.broadcast_to(np.arange(400.0).reshape(20, 20), (5, 2, 3, 20, 20))
    options = replace(WARM, planes="T=1:")
    problem = prepare_stack(image, MLMC, axes="TCZYX", options=options)
    todo = [index for index in problem.indices if index != (3, 0, 1)]
    warm_starts = WarmStarts(problem, todo)
    order = warm_starts.order
    assert sorted(order) == sorted(todo)
    keys = [index[1:] for index in order]
    assert [key for key, _ in itertools.groupby(keys)] == sorted(set(keys))
    assert [index[0] for index in order[:4]] == [1, 2, 3, 4]
    result = restore(image[0, 0, 0], scale=1, method="mlmc", schedule=QUICK)
    for index in order:
        assert warm_starts.is_next(index)
        later = (index[0] + 1, *index[1:])
        if later in todo:
            assert not warm_starts.is_next(later)
        # What an earlier run has restored hands nothing on.
        assert warm_starts.start(index) is None
        record = warm_starts.end(index, result)
        assert record is not None
        assert (COLD_START in record.notes) == (index[0] > 1)


def stopped_after(image: NDArray[Any], path: Path, planes: int) -> tuple[Any, str]:
    """Begin an OME-Zarr and stop after some planes; return the file and what identifies it."""
    np.save(path / "in.npy", image)
    job = file_job(path / "in.npy", path / "out.ome.zarr")
    run = digest(job, MLMC, WARM, axes="TYX", known=None, mask=None)
    steps = restore_file(open_file(job, MLMC, WARM, axes="TYX"), run=run)
    report = next(steps)
    while True:
        try:
            report = steps.send(report.step >= planes)
        except StopIteration:
            return job, run


def test_a_run_that_is_gone_on_with_says_which_planes_begin_anew(tmp_path: Path) -> None:
    image = series(4)
    job, run = stopped_after(image, tmp_path, 2)
    result = drained(restore_file(open_file(job, MLMC, WARM, axes="TYX"), run=run))
    assert result.kept == 2
    assert [COLD_START in record.notes for record in result.records] == [True, False]
    assert any(note.startswith("1 plane started anew") for note in result.notes)
    # From there on it is a sequence of its own.
    rest = restore_stack(image[2:], MLMC, axes="TYX", options=WARM)
    np.testing.assert_array_equal(open_image(job.image).array[2:, :, :], rest.image)


def test_damaged_planes_do_not_break_a_sequence() -> None:
    image = series(4).astype(np.float32)
    image[2] = np.nan
    found = restore_stack(image, MLMC, axes="TYX", options=WARM)
    assert [record.index for record in found.failures] == [(2,)]
    without = restore_stack(image[[0, 1, 3]], MLMC, axes="TYX", options=WARM)
    np.testing.assert_array_equal(found.image[[0, 1, 3]], without.image)
    assert not found.notes


def test_on_a_cluster_sequences_are_those_of_one_process(client: Client) -> None:
    image = np.stack([series(3, side=34), series(3, side=34, seed=1)], axis=1)
    image = image.astype(np.float32)
    image[1, 1] = np.nan
    expected = restore_stack(image, MLMC, axes="TCYX", options=WARM)
    found = restore_stack(image, MLMC, axes="TCYX", options=WARM, client=client)
    assert [record.index for record in found.failures] == [(1, 1)]
    check_same(found, expected)


@pytest.mark.parametrize(
    ("settings", "axes", "words"),
    [
        (MLMC, "CYX", "3 planes along 'C' have no neighbours; expected several along an axis"),
        (
            replace(MLMC, scale=8, finish="measurement", tile=256),
            "TYX",
            "planes of 320 × 320 pixels are made in tiles, which have no neighbours",
        ),
    ],
)
def test_what_has_no_neighbour_is_refused(settings: Settings, axes: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        restore_stack(series(3), settings, axes=axes, options=WARM)


def test_the_command_takes_warm_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "in.npy", series(2, side=34))
    np.save(tmp_path / "one.npy", series(1, side=34)[0])
    rest = "-s 1 --method mlmc --steps 4 --warm-start"
    command = f"restore in.npy -o out.npy --axes TYX {rest}"
    assert run_here(command, monkeypatch, tmp_path) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["options"]["warm_start"]
    capfd.readouterr()
    words = "1 planes along '' have no neighbours"
    check_refused(f"restore one.npy -o one.tif {rest}", words, tmp_path, monkeypatch, capfd)
