"""Blur estimates filtered over neighbouring planes: against the plain linear algebra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_blindsr import Settings, StackOptions, restore_stack
from napari_blindsr.errors import SettingsError
from napari_blindsr.estimation.posterior import BlurPosterior
from napari_blindsr.estimation.smoothing import DRIFT, smoothed
from napari_blindsr.images.files import open_image
from napari_blindsr.stacks.batch import digest, file_job, open_file, restore_file
from tests.stacks.test_cluster import check_same
from tests.stacks.test_restore_stack import KERNEL, planes

ESTIMATING = Settings(scale=2, finish="measurement", threads=1)
FILTERED = StackOptions(kernels="plane", warm_start=True)


def reading(mean: list[float], deviation: list[float]) -> BlurPosterior:
    return BlurPosterior(
        mean=torch.tensor(mean), deviation=torch.tensor(deviation), families=torch.ones(1)
    )


@given(
    count=st.integers(1, 9),
    drift=st.floats(1e-3, 10),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_it_is_the_most_probable_random_walk(count: int, drift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 3))
    deviations = rng.uniform(0.1, 2, size=(count, 3))
    steps = rng.integers(1, 4, size=count - 1).tolist()
    given_ = [reading(*pair) for pair in zip(values.tolist(), deviations.tolist(), strict=True)]
    found = torch.stack([r.mean for r in smoothed(given_, steps=steps, drift=drift)]).numpy()
    for axis in range(3):
        # Least squares: every reading, and every step, in units of its deviation.
        matrix = np.diag(deviations[:, axis] ** -2)
        for at, step in enumerate(steps):
            matrix[at : at + 2, at : at + 2] += np.array([[1, -1], [-1, 1]]) / (step * drift)
        expected = np.linalg.solve(matrix, values[:, axis] / deviations[:, axis] ** 2)
        np.testing.assert_allclose(found[:, axis], expected, rtol=1e-4, atol=1e-4)


def test_it_smooths_what_does_not_change_and_follows_what_does() -> None:
    rng = np.random.default_rng(0)
    noise = 0.3 * rng.normal(size=(200, 3))
    given_ = [reading(row.tolist(), [0.3] * 3) for row in noise]
    found = torch.stack([r.mean for r in smoothed(given_, steps=[1] * 199)]).numpy()
    assert found.std() < 0.75 * noise.std()
    jump = [reading([0.0 if at < 10 else 3.0] * 3, [0.3] * 3) for at in range(20)]
    means = torch.stack([r.mean for r in smoothed(jump, steps=[1] * 19)])
    assert float(means[6].max()) < 0.2
    assert float(means[13].min()) > 2.8
    assert smoothed([], steps=[]) == []
    assert 0 < DRIFT < 1


def test_neighbours_are_filtered_within_their_channel() -> None:
    image = planes(6, side=48).reshape(3, 2, 48, 48)
    plain = restore_stack(image, ESTIMATING, axes="TCYX", options=StackOptions(kernels="plane"))
    found = restore_stack(image, ESTIMATING, axes="TCYX", options=FILTERED)
    assert [entry.indices for entry in found.kernels] == [entry.indices for entry in plain.kernels]

    def widths(channel: int, result: object = found) -> list[float]:
        kernels = result.kernels  # type: ignore[attr-defined]
        return [e.blur.widths[0] for e in kernels if e.indices[0][1] == channel]

    for channel in (0, 1):
        assert np.ptp(widths(channel)) < np.ptp(widths(channel, plain))
        alone = restore_stack(image[:, channel], ESTIMATING, axes="TYX", options=FILTERED)
        np.testing.assert_array_equal(alone.image, found.image[:, channel])


def test_it_is_the_same_on_a_cluster_and_past_a_damaged_plane(client: Client) -> None:
    image = planes(4, side=32).astype(np.float32)
    image[1] = np.nan
    expected = restore_stack(image, ESTIMATING, axes="ZYX", options=FILTERED)
    found = restore_stack(image, ESTIMATING, axes="ZYX", options=FILTERED, client=client)
    assert [record.index for record in found.failures] == [(1,)]
    check_same(found, expected)


def test_a_run_that_is_gone_on_with_finds_the_same(tmp_path: Path) -> None:
    image = planes(3)
    np.save(tmp_path / "in.npy", image)
    job = file_job(tmp_path / "in.npy", tmp_path / "out.ome.zarr")
    run = digest(job, ESTIMATING, FILTERED, axes="TYX", known=None, mask=None)
    steps = restore_file(open_file(job, ESTIMATING, FILTERED, axes="TYX"), run=run)
    while next(steps).step < 1:
        pass
    with pytest.raises(StopIteration):
        steps.send(True)
    assert not job.image.exists()
    for _ in restore_file(open_file(job, ESTIMATING, FILTERED, axes="TYX"), run=run):
        pass
    expected = restore_stack(image, ESTIMATING, axes="TYX", options=FILTERED)
    np.testing.assert_array_equal(open_image(job.image).array[:, :, :], expected.image)


def test_kernels_that_are_shared_or_known_have_no_neighbours() -> None:
    shared = StackOptions(warm_start=True)
    with pytest.raises(SettingsError, match=r"kernel is one a channel \(kernels\); expected kern"):
        restore_stack(planes(2), ESTIMATING, axes="TYX", options=shared)
    known = Settings(scale=2, kernel="known")
    with pytest.raises(SettingsError, match="kernel is known; expected kernels='plane'"):
        restore_stack(planes(2), known, axes="TYX", options=FILTERED, known_kernel=KERNEL)
