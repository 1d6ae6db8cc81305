"""Refining a reading by how well the restored image explains the data."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from torch import Tensor

from napari_blindsr.engine.estimator import FAMILY_ORDER, BlurReading
from napari_blindsr.engine.kernels import render_gaussian
from napari_blindsr.engine.kernels.width import core_covariance, log_covariance
from napari_blindsr.engine.nonblind.data_module import DataModule
from napari_blindsr.engine.refine import refine
from napari_blindsr.weights.shipped import load_image_prior

SCALE = 2


def blurred() -> tuple[Tensor, Tensor]:
    """Return the LR plane of a picture that was not trained on, and the logarithm of its blur."""
    sharp = torch.from_numpy(data.camera()[80:176, 150:246] / 255).float()
    kernel = render_gaussian(
        torch.tensor([[2.0, 1.2]]).double(), torch.tensor([0.5]).double(), size=17, center=8
    )
    plane = DataModule(sharp[::SCALE, ::SCALE], kernel[0].float(), SCALE).predict(sharp)
    return plane, log_covariance(core_covariance(kernel) / SCALE**2)[0].float()


def refined(plane: Tensor, mean: Tensor, deviation: float) -> BlurReading:
    families = torch.full((len(FAMILY_ORDER),), 1 / len(FAMILY_ORDER))
    reading = BlurReading(mean=mean, deviation=torch.full((3,), deviation), families=families)
    return refine(
        plane,
        reading,
        load_image_prior(),
        scale=SCALE,
        center_offset=0.0,
        periodic=True,
        noise=0.0,
    )


@pytest.mark.parametrize("error", [0.6, -0.6])
def test_a_reading_that_is_far_off_comes_nearer(error: float) -> None:
    plane, truth = blurred()
    wrong = torch.tensor([error, error, 0.0])
    found = refined(plane, truth + wrong, 0.5)
    assert float((found.mean - truth)[:2].abs().mean()) < 0.6 * abs(error)
    assert bool((found.deviation <= 0.5).all())
    assert float(found.deviation[:2].mean()) < 0.45


def test_a_reading_that_is_sure_stays_where_it_is() -> None:
    plane, truth = blurred()
    reading = truth + torch.tensor([0.3, 0.3, 0.0])
    found = refined(plane, reading, 0.01)
    assert float((found.mean - reading).abs().max()) < 0.05
