"""What the tests of the napari side share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy
from napari.utils.notifications import notification_manager
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.layers.versions import MOVED
from napari_blindsr.progress import StopReason
from napari_blindsr.restoration.result import Result
from napari_blindsr.settings import Settings
from napari_blindsr.types import Geometry

if not MOVED:
    # The tests use the names of napari 0.9; older versions keep the same things elsewhere.
    class OldCanvas:
        def __init__(self, viewer: Any) -> None:
            self.viewer = viewer

        grid = property(lambda self: self.viewer.grid)
        size = property(
            lambda self: self.viewer._canvas_size,
            lambda self, size: setattr(self.viewer, "_canvas_size", size),
        )

    ViewerModel.canvas = property(OldCanvas)
    ViewerModel.scene = property(lambda viewer: SimpleNamespace(camera=viewer.camera))


def make_result(
    *,
    scale: int,
    shape: tuple[int, ...],
    geometry: Geometry = "camera",
    side: int = 11,
    values: NDArray[np.float32] | None = None,
) -> Result:
    """Return the result of a run on an image of this shape, its kernel a point at its centre.

    The method is one that optimises.
    """
    offset = (scale - 1) / 2 if geometry == "camera" else -(scale - 1) / 2
    center = side // 2 + offset
    kernel = np.zeros((side, side), np.float32)
    low = int(np.floor(center))
    high = int(np.ceil(center))
    # Between pixels if the centre is, and with a mark that tells the kernel from its flip.
    kernel[low : high + 1, low : high + 1] = 0.9 / (high - low + 1) ** 2
    kernel[0, 1] = 0.1
    fine = (scale * shape[0], scale * shape[1], *shape[2:])
    return Result(
        image=np.zeros(fine, np.float32) if values is None else values,
        kernel=kernel,
        support=np.ones(fine[:2], np.float32),
        kernel_center=(center, center),
        axes="YX" if len(shape) == 2 else "YXC",
        offset=offset,
        trace=np.linspace(1, 0, 5, dtype=np.float32),
        settings=Settings(scale=scale, geometry=geometry, method="mlmc"),
        seconds=1.5,
        device="cpu",
        dtype="float32",
        versions={"napari-blindsr": "0"},
        reason=StopReason.COMPLETED,
    )


@dataclass
class Notifications:
    """Texts that were shown to the user, with their severities."""

    shown: list[tuple[str, str]]

    def errors(self) -> list[str]:
        return [text for severity, text in self.shown if severity == "error"]


@pytest.fixture
def notifications() -> Iterator[Notifications]:
    seen = Notifications(shown=[])

    def keep(notification: Any) -> None:
        seen.shown.append((str(notification.severity), str(notification.message)))

    notification_manager.notification_ready.connect(keep)
    yield seen
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def blurred() -> NDArray[np.float32]:
    """A small smooth image with some structure, float32, 24 × 24, in counts."""
    row, column = np.mgrid[:24, :24]
    image = 100 + 80 * np.sin(row / 4) * np.cos(column / 5) + 10 * (row > column)
    return np.asarray(image, np.float32)


DockMaker = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="session")
def shared_viewer() -> Iterator[Any]:
    # Other versions of napari have other insides.
    from napari._qt.threads.status_checker import StatusChecker  # noqa: PLC0415

    from tests.plugin.shared_viewer import SharedViewer  # noqa: PLC0415

    shared = SharedViewer()
    with pytest.MonkeyPatch.context() as patch:
        # As in napari's own tests: no thread looks at what is under the pointer.
        patch.setattr(StatusChecker, "start", lambda _checker: None)
        yield shared
        shared.close()


@pytest.fixture
def lend_viewer(
    request: pytest.FixtureRequest, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Any]]:
    """Return a function that returns an empty viewer; of a new napari the same for all tests."""
    del qtbot
    if not MOVED:
        yield request.getfixturevalue("make_napari_viewer_proxy")
        return
    shared = request.getfixturevalue("shared_viewer")
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    # Like a plugin, the tests see what is public.
    yield lambda: PublicOnlyProxy(shared.take())
    shared.give_back()


@pytest.fixture
def open_dock(lend_viewer: Callable[[], Any]) -> DockMaker:
    """Return a function that takes a viewer and opens the dock in it, set up for a short run.

    By default that is an optimisation; method "fast" takes no steps.
    """

    def make(*images: NDArray[Any], steps: int = 6, method: str = "mlmc") -> tuple[Any, Any]:
        viewer = lend_viewer()
        for number, image in enumerate(images):
            viewer.add_image(image, name=f"image {number}", rgb=image.shape[2:] == (3,))
        _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
        widget.scale.value = 2
        widget.method.value, widget.steps.value = method, steps
        # A quarter of the published width, half of the time.
        widget.channels.value = 32
        widget.device.value = "cpu"
        return viewer, widget

    return make


@pytest.fixture
def measured() -> Any:
    """A viewer without a window, with a source and what a run has made of it."""
    # What fills it makes use of this file.
    from tests.plugin.measuring import filled  # noqa: PLC0415

    return filled(ViewerModel())


@pytest.fixture
def open_measure(qtbot: QtBot) -> Callable[[Any], Any]:
    """Return a function that opens the dock for measuring: in the window, if there is one."""
    from napari_blindsr.plugin.measure.dock import MeasureWidget  # noqa: PLC0415

    def make(viewer: Any) -> Any:
        if hasattr(viewer, "window"):
            _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Measure quality")
            return widget
        widget = MeasureWidget(viewer)
        qtbot.addWidget(widget.native)
        # As napari does for what it docks.
        viewer.layers.events.inserted.connect(widget.reset_choices)
        viewer.layers.events.removed.connect(widget.reset_choices)
        return widget

    return make
