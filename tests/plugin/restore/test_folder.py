"""A folder of images restored from the dock, as the command line does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.images.files import open_image
from napari_blindsr.plugin.restore import optics as optics_fields
from napari_blindsr.plugin.widgets.texts import NO_BREAK
from napari_blindsr.plugin.widgets.verdict import level_of
from napari_blindsr.progress import drained
from napari_blindsr.restoration.diagnostics import Flag
from napari_blindsr.stacks.batch import file_job, open_file, restore_file
from napari_blindsr.stacks.options import StackOptions
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import LONG, assert_free, click, wait_first_step, wait_idle
from tests.plugin.restore.test_queue import states, wait_all


@pytest.fixture
def folders(
    tmp_path: Path, blurred: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """A folder with images, and an empty one for their results, which the dialogues answer."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    tifffile.imwrite(source / "1 one.tif", blurred)
    tifffile.imwrite(source / "2 stack.ome.tif", np.stack([blurred] * 3), metadata={"axes": "TYX"})
    (source / "notes.txt").write_text("no image")
    answers = [str(source), str(target)] * 5
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_: answers.pop(0)
    )
    return source, target


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_each_image_is_restored_and_nothing_is_replaced(
    open_dock: DockMaker,
    folders: tuple[Path, Path],
    qtbot: QtBot,
    notifications: Notifications,
) -> None:
    source, target = folders
    (source / "3 bad.tif").write_bytes(b"nonsense")
    viewer, widget = open_dock(method="fast")
    widget.finish.value = "measurement"
    seen: list[str] = []
    widget.progress.changed.connect(
        lambda _: seen.append(widget.status.value.replace(NO_BREAK, " "))
    )
    click(widget.folder_button)
    assert states(widget) == ["running"]
    wait_idle(qtbot, widget)
    assert_free_without_image(widget)
    status = widget.status.value
    assert status.startswith("2 restored, 1 failed: 3 bad.tif: it is no TIFF image. "), status
    assert status.endswith(f" Results are in {target}.")
    assert states(widget) == ["failed"]
    assert notifications.shown[-1] == ("warning", f"in/ ×2 (fast): {status}")
    assert list(viewer.layers) == []
    assert any("1 of 2 files" in text and "left" in text for text in seen), seen
    assert list(contents(target)) == [
        *("1 one_x2.json", "1 one_x2.kernel.npy", "1 one_x2.tif"),
        *("2 stack_x2.json", "2 stack_x2.kernel.npy", "2 stack_x2.ome.tif"),
    ]
    # As the command line restores it.
    job = file_job(source / "2 stack.ome.tif", source.parent / "expected.ome.tif")
    drained(restore_file(open_file(job, widget._form.settings(), StackOptions()), run=""))
    made, expected = (open_image(path).array for path in (target / "2 stack_x2.ome.tif", job.image))
    assert expected.shape == (3, 48, 48)
    np.testing.assert_array_equal(made[:, :, :], expected[:, :, :])
    report = json.loads((target / "1 one_x2.json").read_text(encoding="utf-8"))
    assert report["settings"] == widget._form.settings().to_json()

    # Again: what is complete is skipped.
    before = contents(target)
    (source / "3 bad.tif").unlink()
    click(widget.folder_button)
    wait_idle(qtbot, widget)
    assert widget.status.value.startswith("0 restored, 2 already complete. ")
    assert states(widget) == ["done"]
    # With other settings: nothing is replaced.
    widget.noise.value = 3
    click(widget.folder_button)
    wait_idle(qtbot, widget)
    status = widget.status.value
    assert status == (
        "0 restored, 2 failed: 1 one.tif: cannot write 1 one_x2.kernel.npy: it exists already; "
        "2 stack.ome.tif: cannot write 2 stack_x2.kernel.npy: it exists already. "
        f"Results are in {target}."
    )
    assert contents(target) == before
    assert notifications.errors() == []


def assert_free_without_image(widget: Any) -> None:
    assert widget._worker is None
    assert widget._run is None
    assert not widget.cancel_button.enabled
    assert widget.folder_button.enabled


def test_a_folder_waits_its_turn_and_uses_what_was_set(
    open_dock: DockMaker, folders: tuple[Path, Path], blurred: NDArray[Any], qtbot: QtBot
) -> None:
    _, target = folders
    viewer, widget = open_dock(blurred, steps=LONG)
    viewer.add_image(np.full((5, 5), 1 / 25), name="psf")
    widget.image.value = viewer.layers[0]
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    widget.method.value, widget.finish.value, widget.dtype.value = "fast", "measurement", "source"
    widget.kernel.value, widget.kernel_layer.value = "known", viewer.layers["psf"]
    click(widget.folder_button)
    widget.kernel.value, widget.scale.value = "auto", 4
    viewer.layers.remove("psf")
    assert states(widget) == ["running", "waiting"]
    assert widget.queue.list.item(1).text() == "waiting · in/ ×2 (fast)"
    click(widget.stop_button)
    wait_all(qtbot, widget)
    assert_free(widget)
    assert states(widget) == ["stopped", "done"]
    assert widget.status.value.startswith("2 restored. ")
    report = json.loads((target / "1 one_x2.json").read_text(encoding="utf-8"))
    assert report["settings"]["kernel"] == "known"
    assert report["options"]["dtype"] == "source"
    # The result of the layer before is still the last one.
    assert widget.compare_button.enabled


@pytest.mark.parametrize(
    ("way", "steps", "expected"),
    [
        ("cancel", LONG, "Cancelled; 0 restored, 2 not finished."),
        # As on the command line, the plane in progress is completed.
        ("stop", 4, "1 restored, 1 not finished. "),
    ],
)
def test_a_folder_can_be_ended(
    open_dock: DockMaker,
    folders: tuple[Path, Path],
    qtbot: QtBot,
    notifications: Notifications,
    way: str,
    steps: int,
    expected: str,
) -> None:
    _, target = folders
    _, widget = open_dock(steps=steps)
    widget.channels.value = 16
    click(widget.folder_button)
    seen: list[str] = []
    widget._worker.yielded.connect(lambda report: seen.append(report.stage))
    begun = "0 of 2 files; plane 1 of 1: "
    qtbot.waitUntil(lambda: any(begun in stage for stage in seen), timeout=1000 * PATIENCE)
    click(widget.cancel_button if way == "cancel" else widget.stop_button)
    wait_idle(qtbot, widget)
    assert_free_without_image(widget)
    assert widget.status.value.startswith(expected)
    assert states(widget) == ["stopped"]
    # Nothing half-written is left.
    names = ["1 one_x2.json", "1 one_x2.kernel.npy", "1 one_x2.tif"]
    assert list(contents(target)) == ([] if way == "cancel" else names)
    assert notifications.errors() == []


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("same", "holds the images; expected another folder for the results"),
        ("empty", "holds no images; expected"),
        ("region", "Region: set, but only for layers; expected the default for a folder"),
        ("lacking", "Mark poorly supported pixels: set, but only for layers"),
        ("psf", "no kernel layer is chosen"),
    ],
)
def test_what_does_not_fit_a_folder_is_refused_in_one_line(
    open_dock: DockMaker,
    folders: tuple[Path, Path],
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    expected: str,
) -> None:
    source, target = folders
    _, widget = open_dock(method="fast")
    if what == "same":
        monkeypatch.setattr(
            "qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_: str(source)
        )
    elif what == "empty":
        for path in source.glob("*.tif"):
            path.unlink()
    elif what == "region":
        widget.region.value = "view"
    elif what == "lacking":
        widget.lacking.value = True
    else:
        widget.kernel.value = "known"
    click(widget.folder_button)
    (error,) = notifications.errors()
    assert expected in error
    assert widget._worker is None
    assert widget.queue.entries == []
    assert contents(target) == {}


def test_pixels_of_another_size_are_refused(
    open_dock: DockMaker,
    folders: tuple[Path, Path],
    blurred: NDArray[Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Other tests shall not find the optics.
    monkeypatch.setattr(optics_fields, "_remembered", {})
    source, target = folders
    for name, side in (("3 fits", 0.1), ("4 coarse", 0.2)):
        metadata = {"axes": "YX", "PhysicalSizeX": side, "PhysicalSizeY": side}
        tifffile.imwrite(source / f"{name}.ome.tif", blurred, metadata=metadata)
    viewer, widget = open_dock(blurred, method="fast")
    viewer.layers[0].scale, viewer.layers[0].units = (0.1, 0.1), ("um", "um")
    widget.finish.value = "measurement"
    optics = widget._form.optics
    optics.kind.value, optics.aperture.value, optics.emission.value = "fluorescence", 1.2, 520
    click(widget.folder_button)
    wait_idle(qtbot, widget)
    assert widget.status.value.startswith(
        "3 restored, 1 failed: 4 coarse.ome.tif: its pixels are 200 nm; expected 100 nm, as in the "
        "form. "
    )
    assert not list(target.glob("4*"))
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in target.glob("*.json")]
    levels = [level_of(Flag(**flag) for flag in report["flags"]) for report in reports]
    doubtful = len(levels) - levels.count("good")
    assert doubtful
    assert f" Reports with warnings: {doubtful}. " in widget.status.value


def test_a_dialogue_that_is_left_begins_nothing(
    open_dock: DockMaker, monkeypatch: pytest.MonkeyPatch, notifications: Notifications
) -> None:
    _, widget = open_dock()
    answers = ["", "/somewhere", ""]
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_: answers.pop(0)
    )
    for _ in range(2):
        click(widget.folder_button)
    assert answers == []
    assert widget.queue.entries == []
    assert notifications.errors() == []
