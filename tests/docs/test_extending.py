"""The examples of docs/extending.md work in the lists that they are made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from napari.components import ViewerModel
from PIL import Image
from pytestqt.qtbot import QtBot

from napari_blindsr import restore
from napari_blindsr.errors import FileError
from napari_blindsr.images import files
from napari_blindsr.images.writer import Output
from napari_blindsr.methods import Method
from napari_blindsr.metrics import Evidence
from napari_blindsr.metrics.measure import measure
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.progress import StopReason
from napari_blindsr.restoration import diagnostics
from napari_blindsr.solvers.loop import solve
from tests.docs.pages import blocks, namespace
from tests.helpers import observe

PAGE = "extending.md"


def test_a_kernel_family() -> None:
    square = namespace(PAGE, "A kernel family")["Square"]()
    size = square.size(2)
    center = kernel_center(size, 2, "camera")
    kernels = square.sample(
        3, scale=2, size=size, center=center, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(3))
    torch.testing.assert_close(
        kernels.sum(dim=2) @ torch.arange(size).float(), torch.full((3,), center)
    )
    image = np.random.default_rng(0).random((20, 20), np.float32)
    result = restore(image, scale=2, kernel=square)
    assert result.settings.kernel == square


def test_a_metric() -> None:
    metric = namespace(PAGE, "A metric")["BRIGHTNESS"]
    image = np.random.default_rng(0).random((32, 32))
    (found,) = measure(Evidence(image=2 * image, reference=image), metrics=[metric])
    assert found.value == pytest.approx(2)


def test_a_file_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = namespace(PAGE, "A file format")["FORMAT"]
    monkeypatch.setattr(files, "FORMATS", (*files.FORMATS, entry))
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "grey.pgm"
    Image.fromarray(pixels).save(path)
    source = files.open_image(path)
    np.testing.assert_array_equal(source.array[...], pixels)
    with pytest.raises(FileError, match=r"expected \.tif"):
        entry.check(
            Output(path=path, shape=(3, 4), dtype=np.dtype("u1"), description=source.description)
        )


def test_a_method() -> None:
    names = namespace(PAGE, "A method")
    assert isinstance(names["LANDWEBER"], Method)
    observation = observe()
    run = solve(names["LandweberSolver"](kernel=torch.full((7, 7), 1 / 49)), observation)
    outcome = None
    while outcome is None:
        try:
            next(run)
        except StopIteration as end:
            outcome = end.value
    assert outcome.reason is StopReason.COMPLETED
    assert outcome.estimate.image.shape == observation.canvas_shape
    assert outcome.losses[-1] < 0.01 * outcome.losses[0]


def test_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = namespace(PAGE, "A flag")["MOSTLY_NOISE"]
    monkeypatch.setattr(diagnostics, "FLAGS", (kind,))
    kernel = np.full((1, 1), 1, np.float32)

    def flags(noise: float) -> list[str]:
        evidence = diagnostics.RunEvidence(scale=1, kernel=kernel, widths=(1.0, 1.0), noise=noise)
        return [flag.message for flag in diagnostics.run_checks(evidence)]

    assert flags(0.1) == []
    assert flags(0.6) == ["the noise is 60% of the image's standard deviation"]


def test_a_dock(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    widget: Any = namespace(PAGE, "A dock")["WidthsWidget"](viewer)
    qtbot.addWidget(widget.native)
    assert widget.text.value == "Select a point spread function."
    y, x = np.mgrid[-10:11, -10:11]
    viewer.add_image(np.exp(-(x**2 + y**2) / 8))
    assert widget.text.value == "FWHM 4.7 × 4.7 px"
    (manifest,) = blocks(PAGE, "yaml", "A dock")
    command = yaml.safe_load(manifest)["contributions"]["commands"][0]
    assert command["python_name"].endswith("dock:WidthsWidget")
