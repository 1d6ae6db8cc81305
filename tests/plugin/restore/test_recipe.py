"""What the dock copies repeats its run exactly."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
import tifffile
from npe2 import PluginManager
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication
from typer.testing import CliRunner

from napari_blindsr import Optics, Schedule, Settings
from napari_blindsr.cli.app import app
from napari_blindsr.cli.options import FamilyOptions, choose_family
from napari_blindsr.images.files import create_image, open_image
from napari_blindsr.images.metadata import Description
from napari_blindsr.physics.kernels import Airy, Disk, Gaussian, KernelFamily, Line, Motion
from napari_blindsr.plugin.layers.outputs import METADATA_KEY
from napari_blindsr.plugin.restore.recipe import _kernel_words
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import click, wait_idle


def copied(button: Any) -> str:
    button.native.click()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    return clipboard.text()


@pytest.mark.parametrize("planes", ["current", "all"])
def test_the_script_repeats_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    planes: str,
) -> None:
    viewer, widget = open_dock(np.stack([blurred, blurred[::-1]]), method="fast")
    viewer.layers[0].axis_labels = ("z", "y", "x")
    viewer.dims.set_point(0, 1)
    widget.planes.value, widget.finish.value, widget.noise.value = planes, "measurement", 2.0
    text = copied(widget._form.python_button)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  (this is what is tested)
    restored = np.squeeze(viewer.layers["image 0 ×2 (fast)"].data)
    np.testing.assert_array_equal(np.squeeze(names["result"].image), restored)


def test_the_command_repeats_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PluginManager.instance().discover()
    source = tmp_path / "cells.ome.tif"
    image = np.stack([blurred, blurred[::-1]])
    described = Description(axes="CYX", channel_names=("DAPI", "GFP"))
    writer = create_image(source, shape=image.shape, dtype=image.dtype, description=described)
    writer[(slice(None),) * 3] = image
    writer.finish()
    viewer, widget = open_dock(method="fast")
    _, green = viewer.open(source, plugin="napari-blindsr")
    widget.image.value = green
    widget.kernel.value = "gaussian"
    command = copied(widget._form.command_button)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)
    assert program == "napari-blindsr"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    restored = np.squeeze(open_image(tmp_path / "restored x2.ome.tif").array[...])
    np.testing.assert_allclose(restored, viewer.layers["GFP ×2 (fast)"].data, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "family",
    [
        Gaussian(variance=(0.25, 4.0)),
        Disk(radius=(1.0, 2.5)),
        Line(half_length=(1.5, 3.0)),
        Motion(extent=(1.0, 2.0), persistence=0.4),
        Airy(numerical_aperture=0.6, defocus=(0.0, 200.0)),
    ],
    ids=lambda family: family.name,
)
def test_the_options_of_a_family_are_read_as_that_family(family: KernelFamily) -> None:
    _, name, *words = _kernel_words(family)
    given: dict[str, Any] = {}
    for word in words:
        if word.startswith("--"):
            values = given.setdefault(word[2:].replace("-", "_"), [])
        else:
            values.append(float(word))
    options: Any = {
        key: found[0] if len(found) == 1 else tuple(found) for key, found in given.items()
    }
    assert choose_family(name, FamilyOptions(**options)) == family


def test_what_has_no_file_has_no_command(
    open_dock: DockMaker, blurred: NDArray[Any], notifications: Notifications
) -> None:
    _, widget = open_dock(blurred, method="fast")
    widget._form.command_button.native.click()
    assert "was not opened from a file" in notifications.errors()[0]


def test_the_command_names_channel_axes_and_plane_as_the_layer_does(
    open_dock: DockMaker, blurred: NDArray[Any], tmp_path: Path
) -> None:
    """Neither has a name in its file: which channel it is, and which axis its pages follow."""
    PluginManager.instance().discover()
    pair, pages = tmp_path / "pair.tif", tmp_path / "pages.tif"
    planes = np.stack([blurred, blurred[::-1]]).astype(np.uint16)
    tifffile.imwrite(pair, planes, imagej=True, metadata={"axes": "CYX"})
    with tifffile.TiffWriter(pages) as writer:
        for plane in planes:
            writer.write(plane, contiguous=False, metadata=None)
    viewer, widget = open_dock(method="fast")
    widget.image.value = viewer.open(pair, plugin="napari-blindsr")[1]
    words = shlex.split(copied(widget._form.command_button))
    assert words[words.index("--planes") + 1] == "C=1"
    widget.image.value = viewer.open(pages, plugin="napari-blindsr")[0]
    words = shlex.split(copied(widget._form.command_button))
    assert words[words.index("--axes") + 1] == "CYX"
    assert words[words.index("--planes") + 1] == f"C={viewer.dims.current_step[0]}"
    assert words[words.index("--kernels") + 1] == "plane"
    widget._form.axes.value = "QYX"
    words = shlex.split(copied(widget._form.command_button))
    assert words[words.index("--output") + 1].endswith("x2.tif"), "OME has no such axis"


def test_the_script_takes_drawn_masks_and_leaves_out_alpha(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = np.dstack([blurred, blurred[::-1], blurred.T, np.full_like(blurred, 255)])
    viewer, widget = open_dock(method="fast")
    viewer.add_image(np.clip(colours, 0, 255).astype(np.uint8), rgb=True, name="photo")
    viewer.add_shapes([np.array([[5, 5], [5, 12], [12, 12], [12, 5]])], name="scratch")
    widget.image.value, widget.mask.value = viewer.layers["photo"], viewer.layers["scratch"]
    widget.finish.value = "measurement"
    text = copied(widget._form.python_button)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  (this is what is tested)
    restored = np.clip(np.rint(names["result"].image), 0, 255)
    np.testing.assert_array_equal(restored, viewer.layers["photo ×2 (fast)"].data)


LOADED = {
    "defaults": Settings(scale=2),
    "fast": Settings(
        scale=3, finish="measurement", kernel=Disk(radius=(1.5, 3.0)), noise=12.5, seed=5, tile=512
    ),
    "careful": Settings(
        scale=1, quality="refined", uncertainty=1, field=(1, 1), precision="float32"
    ),
    "field": Settings(scale=2, kernel=Gaussian(variance=(0.25, 4.0)), field=(2, 3), gain="auto"),
    "microscope": Settings(
        scale=2,
        optics=Optics(numerical_aperture=1.2, emission_nm=520, pixel_size_nm=65),
        mask_saturated=True,
        geometry="benchmark",
        border="circular",
    ),
    "mlmc": Settings(
        scale=4,
        method="mlmc",
        kernel=Line(half_length=(1.0, 4.0)),
        schedule=replace(Schedule.named("reference", kernel="line").scaled(150), channels=32),
        bounded=True,
    ),
    "ddsr": Settings(
        scale=2, method="ddsr", noise="auto", gain=0.5, schedule=Schedule().scaled(200)
    ),
}


@pytest.mark.parametrize("name", LOADED)
def test_settings_of_a_result_are_loaded(open_dock: DockMaker, name: str) -> None:
    viewer, widget = open_dock(np.eye(24), method="fast")
    wanted = LOADED[name]
    for number, settings in enumerate((Settings(scale=8, seed=99), wanted)):
        record = {"settings": json.loads(json.dumps(settings.to_json()))}
        viewer.add_image(np.eye(24), name=f"result {number}", metadata={METADATA_KEY: record})
    widget.image.value = viewer.layers[0]
    widget._form.load_button.native.click()
    assert "Set by hand" not in widget.status.value
    made = widget._form.settings()
    assert made == replace(wanted, threads=made.threads)
    # The selected one counts, and what no field can hold is named.
    viewer.layers.selection.active = viewer.layers["result 0"]
    widget._form.load_button.native.click()
    assert (widget.scale.value, widget.seed.value) == (8, 99)


def test_settings_that_no_field_can_hold_are_named(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(np.eye(24), method="fast")
    widget._form.load_button.native.click()
    assert widget.status.value.startswith("There are no settings")
    record = {"settings": Settings(scale=2, uncertainty=77).to_json()}
    viewer.add_image(np.eye(24), name="result", metadata={METADATA_KEY: record})
    widget._form.load_button.native.click()
    assert widget.status.value.endswith("Set by hand: uncertainty.")
