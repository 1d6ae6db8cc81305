"""Both networks trained together: what they see, and which loss reaches what."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_blindsr.estimation.network import load_kernel_estimator
from napari_blindsr.physics.acquisition import Acquisition
from napari_blindsr.physics.kernels.moments import core_covariance, log_covariance
from napari_blindsr.physics.noise import STATISTICS
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from tests.helpers import FLOAT32
from tests.training.conftest import Bank
from training import joint
from training.estimator import BlurTask, DecisionTask, PriorTask
from training.joint import (
    SHAPES,
    Batch,
    JointTask,
    Judge,
    blur_batch,
    both_of,
    joint_batch,
    judge_of,
    observed,
    render,
    restore,
    together,
)
from training.real import (
    VALIDATION,
    edge_power,
    is_validation,
    reduced,
    soft_object,
    training_micrographs,
)
from training.scenes import KINDS, MICROSCOPY, Scenes, blur_of, gaussian_blur, given_optics
from training.split import split


def of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(side: int = 64) -> NDArray[np.float32]:
    return soft_object(side, of(0))


# Scenes.


def test_scenes_are_of_all_kinds(bank: Bank) -> None:
    micrographs = [[picture(90)], [picture(200), picture(70)]]
    for scenes in (Scenes(bank, []), Scenes(bank, micrographs)):
        kinds = set()
        for seed in range(40):
            sharp, kind = scenes.crop(48 + seed, of(seed))
            assert sharp.shape == (48 + seed,) * 2
            assert sharp.dtype == np.float32
            assert sharp.flags.c_contiguous
            assert -0.01 < float(sharp.min()) <= float(sharp.max()) < 1.35
            kinds.add(kind)
            again, _ = scenes.crop(48 + seed, of(seed))
            np.testing.assert_array_equal(again, sharp)
        assert kinds == set(range(len(KINDS)))


def test_optics_are_given_of_some_microscopes_and_near_the_blur() -> None:
    blur = gaussian_blur(3.0, 3.0, 0.0, 2)
    variance = 2 * math.log(1.5)
    optics = [given_optics(MICROSCOPY[0], blur, 2, of(seed)) for seed in range(200)]
    known = [value for value in optics if not math.isnan(value)]
    assert 40 < len(known) < 110
    # A real blur is wider than diffraction's, mostly.
    assert np.mean(np.array(known) < variance) > 0.6
    assert np.abs(np.array(known) - variance).max() < 1.5
    photographs = next(kind for kind in range(len(KINDS)) if kind not in MICROSCOPY)
    assert all(math.isnan(given_optics(photographs, blur, 2, of(seed))) for seed in range(20))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_blurs_are_what_they_are_said_to_be(scale: int) -> None:
    blur = gaussian_blur(2.0 * scale, 1.2 * scale, 0.4, scale)
    values = torch.linalg.eigvalsh(blur.covariance.double()).sqrt() / scale
    torch.testing.assert_close(values, torch.tensor([1.2, 2.0]).double(), rtol=0.03, atol=0)
    for kind in range(len(KINDS)):
        for seed in range(10):
            drawn = blur_of(kind, scale, of(seed))
            assert float(drawn.kernel.sum()) == pytest.approx(1, abs=1e-3)
            torch.testing.assert_close(drawn.covariance, core_covariance(drawn.kernel[None])[0])


# Batches.


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_data_are_what_the_truth_predicts(scale: int) -> None:
    blur = gaussian_blur(0.9 * scale, 0.7 * scale, 0.3, scale)
    record = Acquisition(noise=0.01, offset=0.1)
    batch = observed(picture(), blur, record, of(1), scale=scale)
    assert batch.data.shape == (1, 64 // scale, 64 // scale)
    predicted = DataModule(batch.data, batch.kernels, scale).predict(batch.sharp)
    error = float((batch.data - predicted).std())
    # The noise that is given is an estimate, and in the unit of the data.
    assert error == pytest.approx(float(batch.noise.square().mean().sqrt()), rel=0.5)
    unit = float(batch.planes.std() / batch.data.std())
    assert error * unit == pytest.approx(0.01, rel=0.1)
    # The offset is no part of the object: data begin near 0.
    assert abs(float(batch.data.min())) < 0.2
    assert bool(batch.blind)
    torch.testing.assert_close(batch.covariance, blur.covariance[None] / scale**2)


def test_a_kernel_that_is_given_is_taken() -> None:
    blur, wrong = gaussian_blur(2.0, 2.0, 0.0, 2), gaussian_blur(3.0, 3.0, 0.0, 2)
    batch = observed(picture(), blur, Acquisition(), of(1), scale=2, optics=0.7, given=wrong.kernel)
    assert not bool(batch.blind)
    assert torch.equal(batch.kernels[0], wrong.kernel)
    assert batch.optics.tolist() == pytest.approx([0.7])
    other = observed(picture(), blur, Acquisition(), of(2), scale=2)
    both = together([batch, other])
    assert both.blind.tolist() == [False, True]
    assert both.data.shape == (2, 32, 32)
    assert both.kernels.shape == (2, len(wrong.kernel), len(wrong.kernel))
    torch.testing.assert_close(both.kernels.sum(dim=(1, 2)), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("scale", [1, 2, 8])
def test_batches_are_seeded(scale: int, bank: Bank) -> None:
    scenes = Scenes(bank, [])
    batch, again = (joint_batch(scenes, of(3), scale=scale) for _ in range(2))
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            other = getattr(again, name)
            assert torch.equal(value.nan_to_num(), other.nan_to_num()), name
            assert name == "optics" or bool(torch.isfinite(value).all()), name
    count = joint.SHAPES[scale][1]
    assert len(batch.sharp) == len(batch.data) == len(batch.statistics) == count
    assert batch.sharp.shape[-1] == scale * batch.data.shape[-1]
    assert batch.statistics.shape == (count, STATISTICS)
    assert set(SHAPES) == set(joint.SHAPES)


def test_batches_of_the_estimator_are_of_all_sizes(bank: Bank) -> None:
    batches = [blur_batch(Scenes(bank, []), of(seed)) for seed in range(6)]
    assert len({batch.planes.shape[-1] for batch in batches}) > 3
    for batch in batches:
        assert torch.isfinite(batch.planes).all()
        assert len(batch.planes) == len(batch.optics) == len(batch.covariance) == len(batch.family)


def test_kernels_are_rendered_as_gaussians_with_gradients() -> None:
    logarithm = log_covariance(torch.tensor([[[2.0, 0.5], [0.5, 1.2]]])).requires_grad_()
    for scale in (1, 2, 3):
        kernel = render(logarithm, 41, scale)
        assert kernel.shape == (1, 41, 41)
        torch.testing.assert_close(kernel.sum(dim=(1, 2)), torch.ones(1))
        found = core_covariance(kernel.detach())[0] / scale**2
        expected = torch.tensor([[2.0, 0.5], [0.5, 1.2]])
        torch.testing.assert_close(found, expected, rtol=0.03, atol=0.02)
    kernel.square().sum().backward()
    assert logarithm.grad is not None
    assert torch.isfinite(logarithm.grad).all()


# Losses.


def example(*, blind: bool = True) -> Batch:
    blur = gaussian_blur(1.8, 1.4, 0.3, 2)
    given = None if blind else blur.kernel
    return observed(picture(), blur, Acquisition(noise=0.01), of(1), scale=2, given=given)


def test_the_image_pulls_at_the_decision_and_not_at_the_posterior() -> None:
    both, batch = both_of(None), example()
    rounds, votes = restore(both, batch, FLOAT32)
    (rounds[-1].image - batch.sharp).square().mean().backward(retain_graph=True)
    estimator = both.estimator
    # Mean, uncertainty and families are votes.
    assert estimator.vote.weight.grad is None or not estimator.vote.weight.grad.any()
    for part in (estimator.decision[-1], estimator.look):
        gradient = part.weight.grad
        assert isinstance(gradient, Tensor)
        assert gradient.any()
    assert any(p.grad is not None and p.grad.any() for p in both.prior.parameters())
    # The likelihood pulls at them.
    JointTask.likelihood(votes, batch.covariance, batch.family).backward()
    assert estimator.vote.weight.grad is not None
    assert estimator.vote.weight.grad.any()


def test_a_kernel_that_is_given_gets_no_gradient() -> None:
    both, batch = both_of(None), example(blind=False)
    rounds, _ = restore(both, batch, FLOAT32)
    rounds[-1].image.square().mean().backward()
    grad = both.estimator.decision[-1].weight.grad
    assert isinstance(grad, Tensor)
    # The noise is decided on all the same.
    assert not grad[:3].any()
    assert grad[3:].any()


def test_the_true_blur_is_the_likeliest() -> None:
    batch = example()
    _, votes = restore(both_of(None), batch, FLOAT32)
    right = JointTask.likelihood(votes, batch.covariance, batch.family)
    wrong = JointTask.likelihood(votes, 16 * batch.covariance, batch.family)
    assert float(right.detach()) < float(wrong.detach())


@pytest.mark.usefixtures("small")
def test_a_step_is_taken(bank: Bank) -> None:
    task = JointTask(Scenes(bank, []), both_of(None), Judge({}), compute=FLOAT32)
    optimiser = torch.optim.SGD(task.network.parameters(), lr=1e-4)
    before = [p.detach().clone() for p in task.network.parameters()]
    loss = task.loss(of(3), 0.0)
    assert torch.isfinite(loss)
    loss.backward()
    optimiser.step()
    for name, value in task.network.named_parameters():
        # The choice of further noise is trained by itself.
        assert (value.grad is None) == ("further_noise" in name), name
        assert value.grad is None or torch.isfinite(value.grad).all(), name
    assert any(
        not torch.equal(a, b) for a, b in zip(before, task.network.parameters(), strict=True)
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", [BlurTask, DecisionTask, PriorTask])
def test_one_part_alone_is_trained(bank: Bank, kind: type[JointTask]) -> None:
    task = kind(Scenes(bank, []), both_of(None), Judge({}), compute=FLOAT32)
    loss = task.loss(of(3), 0.0)
    assert torch.isfinite(loss)
    loss.backward()
    moved = {
        name
        for name, value in task.network.named_parameters()
        if value.grad is not None and bool(value.grad.abs().max() > 0)
    }
    assert moved
    assert all(name.startswith(kind.trained) for name in moved)
    # The posterior is that of the blur alone, whatever the image asks for.
    has_votes = any(name.startswith("estimator.vote") for name in moved)
    assert has_votes == (kind is BlurTask)


def test_all_crops_may_be_restored_with_estimated_kernels(bank: Bank) -> None:
    batch = joint_batch(Scenes(bank, []), of(5), scale=2, blind=1.0)
    assert batch.blind.all()


# Judging.


@pytest.mark.usefixtures("small")
def test_the_judge_runs_without_micrographs() -> None:
    judge = judge_of(None)
    scores = judge(both_of(None), FLOAT32)
    assert set(scores) == {
        f"{kind}{end}"
        for kind in ("jpeg", "photographs")
        for end in ("", "_worst", "_below", "_bias", "_rms")
    }
    assert all(math.isfinite(value) for value in scores.values())
    assert scores["photographs_worst"] <= scores["photographs"]
    assert 0 <= scores["jpeg_below"] <= 1
    assert judge_of(None)(both_of(None), FLOAT32) == scores


@pytest.mark.usefixtures("small")
def test_real_micrographs_are_trained_on_or_judged_by(tmp_path: Path) -> None:
    rng = of(0)
    names = ["any_8bit.tif", f"{VALIDATION[0]}_1.tif", "zebra.tif"]
    for name in names:
        image = rng.integers(0, 65536, (200, 240)).astype(np.uint16)
        tifffile.imwrite(tmp_path / name, image)
    trained = training_micrographs(tmp_path)
    assert len(trained) == 2
    assert not is_validation(names[0])
    for sizes in trained:
        # White noise is sharp in all sizes; the smallest keep 96 pixels.
        assert [size.shape for size in sizes] == [(100, 120)]
        assert 0 <= sizes[0].min() <= sizes[0].max() <= 1
    scores = judge_of(tmp_path)(both_of(None), FLOAT32)
    assert {"real", "soft"} <= set(scores)


def test_reducing_takes_means() -> None:
    image = of(0).random((11, 8)).astype(np.float32)
    expected = image[:9, :6].reshape(3, 3, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduced(image, 3), expected, atol=1e-6)


def test_sharp_pictures_are_alive_up_to_the_edge_of_their_spectrum() -> None:
    noise = of(0).random((96, 96)).astype(np.float32)
    assert edge_power(noise) == pytest.approx(1, rel=0.3)
    assert edge_power(picture(96)) < 0.03


def test_soft_objects_are_soft() -> None:
    for seed in range(12):
        image = soft_object(80, of(seed))
        assert image.dtype == np.float32
        assert float(image.min()) == 0
        assert float(image.max()) == pytest.approx(1)
        assert max(float(np.abs(np.diff(image, axis=axis)).max()) for axis in (0, 1)) < 0.6


# What ships.


def test_the_weights_are_split(tmp_path: Path) -> None:
    both = both_of(None)
    save_file(
        {name: value.contiguous() for name, value in both.state_dict().items()},
        tmp_path / "joint.safetensors",
        metadata={"training": '{"step": 3}'},
    )
    split(tmp_path / "joint.safetensors", tmp_path)
    again = both_of(tmp_path)
    for (name, first), second in zip(
        both.state_dict().items(), again.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6, msg=name)
    load_kernel_estimator(tmp_path / "kernel.safetensors")
    load_image_prior(tmp_path / "image.safetensors")
    stored = load_file(tmp_path / "kernel.safetensors")
    assert all(value.dtype == torch.float16 for value in stored.values())
