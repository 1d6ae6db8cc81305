"""USRNet against published values, dense algebra, and the observation that it inverts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat
from skimage import data
from skimage.registration import phase_cross_correlation
from torch import Tensor

from napari_blindsr.errors import InputError, WeightsError
from napari_blindsr.metrics import psnr_y
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.solvers.nonblind.borders import extend_periodic
from napari_blindsr.solvers.nonblind.data_step import DataModule
from napari_blindsr.solvers.nonblind.usrnet import USRNet, usrnet
from tests.helpers import golden, reference_data, tensor


@pytest.fixture(scope="module")
def network() -> USRNet:
    """The published network; tests without it skip."""
    path = reference_data() / "usrnet_tiny.pth"
    return USRNet.from_tensors(torch.load(path, weights_only=True))


def untrained() -> USRNet:
    """A network of random weights, which keeps to the geometry like the published one."""
    torch.manual_seed(0)
    return USRNet().requires_grad_(False)


def blur(scale: int, geometry: Any, *, size: int | None = None) -> Tensor:
    side = size if size is not None else min(4 * scale + 3, 21)
    return render_gaussian(
        torch.tensor([[1.2 * scale, 0.5 * scale]]),
        torch.tensor([0.6]),
        size=side,
        center=kernel_center(side, scale, geometry),
    )[0]


def observed(sharp: NDArray[Any], scale: int, geometry: Any) -> tuple[Observation, Tensor, Tensor]:
    """Return an observation without assumptions at its borders, its kernel, and the truth."""
    kernel = blur(scale, geometry)
    planes = torch.from_numpy(sharp).float().movedim(-1, 0) / 255
    size = kernel.shape[-1]
    height, width = ((n - size + 1) // scale for n in planes.shape[-2:])
    frame = Observation(
        data=torch.zeros(len(planes), height, width),
        scale=scale,
        kernel_size=size,
        geometry=geometry,
        border="extend",
    )
    seen = planes[:, : frame.canvas_shape[1], : frame.canvas_shape[2]]
    measured = (frame.predict(seen, kernel[None])[0] * 255).round() / 255
    observation = Observation(
        data=measured, scale=scale, kernel_size=size, geometry=geometry, border="extend"
    )
    return observation, kernel, frame.crop(seen)


def decibels(estimate: Tensor, truth: Tensor, where: Tensor) -> float:
    return float(-10 * (estimate - truth).square().mean(dim=0)[where].mean().log10())


@pytest.mark.parametrize(
    ("key", "kernel", "scale", "noise", "tolerance"),
    [
        ("usrnet_x4_sigma0", "degrade_kernel", 4, 0.0, 2e-3),
        ("usrnet_x4_sigma10", "degrade_kernel", 4, 10 / 255, 1e-4),
        ("usrnet_x2_sigma0", "gaussian_dataset_x2", 2, 0.0, 2e-3),
    ],
)
def test_published_values(
    network: USRNet, *, key: str, kernel: str, scale: int, noise: float, tolerance: float
) -> None:
    weights = tensor(golden(kernel))
    weights = weights if weights.ndim == 2 else weights[0]
    observation = Observation(
        data=tensor(golden("ssim_a"))[0],
        scale=scale,
        kernel_size=len(weights),
        geometry="benchmark",
        border="circular",
    )
    result = usrnet(observation, weights, network, noise=noise)
    np.testing.assert_allclose(result.numpy(), golden(key)[0], atol=tolerance)


def test_single_precision_is_enough(network: USRNet) -> None:
    weights = torch.from_numpy(golden("degrade_kernel"))
    y = torch.from_numpy(golden("ssim_a"))
    single = network(y, weights.float(), scale=4, noise=0.0)
    double = USRNet().double()
    double.load_state_dict(network.state_dict())
    with torch.no_grad():
        exact = double(y.double(), weights, scale=4, noise=0.0)
    # The published form of the data module is 6e-4 off here.
    assert float((single - exact).abs().max()) < 5e-5


@pytest.mark.parametrize(
    ("name", "expected"),
    [("baby", 33.53), ("bird", 33.80), ("butterfly", 28.17), ("head", 32.80), ("woman", 30.13)],
)
def test_published_ceiling_on_set5(network: USRNet, name: str, expected: float) -> None:
    folder = reference_data() / "Set5"
    low = np.asarray(Image.open(folder / f"DDSR_lr_x4/{name}.png").convert("RGB"))
    high = np.asarray(Image.open(folder / f"HR/{name}.png").convert("RGB"))
    kernel = tensor(loadmat(folder / f"DDSR_gt_k_x4/{name}.mat")["Kernel"])
    observation = Observation(
        data=tensor(low / 255).movedim(-1, 0),
        scale=4,
        kernel_size=len(kernel),
        geometry="benchmark",
        border="circular",
    )
    result = usrnet(observation, kernel, network).movedim(0, -1).numpy()
    truth = high[: result.shape[0], : result.shape[1]]
    assert psnr_y(result, truth, crop=4) == pytest.approx(expected, abs=0.05)


@settings(deadline=None, max_examples=30)
@given(
    scale=st.integers(1, 3),
    height=st.integers(3, 6),
    width=st.integers(3, 6),
    size=st.sampled_from([3, 5, 9, 21]),
    seed=st.integers(0, 1000),
    partly=st.booleans(),
)
def test_data_module_solves_its_least_squares_problem(
    *, scale: int, height: int, width: int, size: int, seed: int, partly: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.rand(size, size, generator=generator, dtype=torch.float64)
    kernel /= kernel.sum()
    y = torch.rand(1, height, width, generator=generator, dtype=torch.float64)
    z = torch.rand(1, scale * height, scale * width, generator=generator, dtype=torch.float64)
    alpha = torch.tensor(0.01, dtype=torch.float64)
    measured = torch.rand(height, width, generator=generator) < 0.7 if partly else None
    module = DataModule(y, kernel, scale, measured=measured)
    # The matrix of the forward model, one impulse a column.
    impulses = torch.eye(z.numel(), dtype=torch.float64).reshape(-1, *z.shape[1:])
    matrix = module.predict(impulses).flatten(1).T
    if size <= 2 * min(z.shape[1:]):
        observation = Observation(data=y, scale=scale, kernel_size=size, border="circular")
        torch.testing.assert_close(observation.predict(z, kernel[None])[0], module.predict(z))
    target = y.flatten()
    if measured is not None:
        # What was not measured stands as predicted.
        target = torch.where(measured.flatten(), target, matrix @ z.flatten())
    normal = matrix.T @ matrix + alpha * torch.eye(z.numel(), dtype=torch.float64)
    expected = torch.linalg.solve(normal, matrix.T @ target + alpha * z.flatten())
    torch.testing.assert_close(module(z, alpha).flatten(), expected)


@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_result_lies_on_the_grid_of_the_observation(
    network: USRNet, scale: int, geometry: Any, border: Any
) -> None:
    observation, kernel, truth = observed(data.chelsea()[60:200, 120:280], scale, geometry)
    observation = Observation(
        data=observation.data,
        scale=scale,
        kernel_size=observation.kernel_size,
        geometry=geometry,
        border=border,
    )
    result = usrnet(observation, kernel, network, noise=2 / 255)
    assert result.shape == observation.result_shape
    inner = slice(16, -16)
    shift, _, _ = phase_cross_correlation(
        truth[1, inner, inner].numpy(), result[1, inner, inner].numpy(), upsample_factor=50
    )
    assert np.abs(shift).max() <= 0.06


@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
@pytest.mark.parametrize(("scale", "noise"), [(4, 0.0), (2, 0.0), (4, 10 / 255)])
def test_borders_of_real_images_stay_clean(
    network: USRNet, scale: int, geometry: Any, noise: float
) -> None:
    observation, kernel, truth = observed(data.chelsea()[:220, 60:320], scale, geometry)
    ring = torch.ones(truth.shape[-2:], dtype=torch.bool)
    ring[12:-12, 12:-12] = False
    result = usrnet(observation, kernel, network, noise=noise)
    wrapped = Observation(
        data=observation.data,
        scale=scale,
        kernel_size=observation.kernel_size,
        geometry=geometry,
        border="circular",
    )
    periodic = usrnet(wrapped, kernel, network, noise=noise)
    low = observation.data.movedim(0, -1).numpy()
    cubic = torch.from_numpy(
        np.asarray(interpolate(low, scale=scale, geometry=geometry), dtype=np.float32)
    ).movedim(-1, 0)
    at_border = decibels(result, truth, ring)
    assert at_border > decibels(result, truth, ~ring) - 2
    assert at_border > decibels(periodic, truth, ring) + 1
    assert at_border > decibels(cubic, truth, ring)


def test_unmeasured_pixels_are_not_explained(network: USRNet) -> None:
    observation, kernel, truth = observed(data.chelsea()[60:180, 120:260], 2, "camera")
    _, height, width = observation.data.shape
    measured = torch.ones(height, width, dtype=torch.bool)
    measured[20:23, 20:23] = False
    spoilt = observation.data.clone()
    spoilt[:, ~measured] = observation.data[:, 19, 20:23].mean()
    covered = Observation(
        data=spoilt, scale=2, kernel_size=observation.kernel_size, geometry="camera"
    )
    kept = usrnet(covered, kernel, network, measured=measured)
    taken = usrnet(covered, kernel, network)
    near = torch.zeros(truth.shape[-2:], dtype=torch.bool)
    near[32:54, 32:54] = True
    assert decibels(kept, truth, near) > decibels(taken, truth, near) + 2


def test_grey_and_any_number_of_channels(network: USRNet) -> None:
    observation, kernel, truth = observed(data.chelsea()[60:150, 120:220], 2, "camera")
    options: dict[str, Any] = {
        "scale": 2,
        "kernel_size": observation.kernel_size,
        "geometry": "camera",
    }
    planes = torch.cat((observation.data, observation.data[:2]))
    five = usrnet(Observation(data=planes, **options), kernel, network)
    assert five.shape == (5, *truth.shape[1:])
    # Each channel by itself, whatever the others are.
    grey = usrnet(Observation(data=planes[1:2], **options), kernel, network)
    torch.testing.assert_close(five[1:2], grey)
    apart = usrnet(Observation(data=planes[:3], **options), kernel, network, colour=False)
    torch.testing.assert_close(apart, five[:3])
    everywhere = torch.ones(truth.shape[1:], dtype=torch.bool)
    together = usrnet(Observation(data=planes[:3], **options), kernel, network)
    assert decibels(together, truth, everywhere) > decibels(apart, truth, everywhere)
    with pytest.raises(InputError, match="5 channels"):
        usrnet(Observation(data=planes, **options), kernel, network, colour=True)


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 12, 5)])
def test_sizes_that_are_no_multiples_of_anything(scale: int, shape: tuple[int, int, int]) -> None:
    observation = Observation(data=torch.rand(shape), scale=scale, kernel_size=21)
    result = usrnet(observation, blur(scale, "camera", size=21), untrained())
    assert result.shape == observation.result_shape
    assert bool(result.isfinite().all())
    assert not result.requires_grad


def test_extension_keeps_the_image_and_is_periodic() -> None:
    image = torch.rand(2, 5, 7).cumsum(dim=-1)
    wide = extend_periodic(image, 12)
    assert wide.shape == (2, 29, 31)
    assert torch.equal(wide[:, 12:-12, 12:-12], image)
    # The largest step around the seam is as small as that of the taper.
    steps = torch.cat((wide, wide[:, :, :1]), dim=-1).diff(dim=-1)[:, 12:-12, :].abs()
    beyond = torch.cat((steps[..., :12], steps[..., 19:]), dim=-1)
    jump = (image[..., -1] - image[..., 0]).abs().amax()
    assert float(beyond.max()) < 0.1 * float(jump)


def test_network_has_the_published_tensors() -> None:
    published = json.loads((reference_data() / "usrnet_tiny_state_dict.json").read_text())
    shapes = {name: list(value.shape) for name, value in USRNet().state_dict().items()}
    assert shapes == published


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_other_tensors_are_refused(change: str) -> None:
    tensors = dict(untrained().state_dict())
    if change == "missing":
        del tensors["p.m_tail.weight"]
    elif change == "extra":
        tensors["p.m_tail.bias"] = torch.zeros(3)
    else:
        tensors["h.mlp.0.bias"] = torch.zeros(31)
    with pytest.raises(WeightsError, match=r"not USRNet-tiny's: tensor '[ph]\.m") as caught:
        USRNet.from_tensors(tensors)
    assert "\n" not in str(caught.value)
