"""One restoration as work for a worker."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import EngineError
from napari_blindsr.methods import method_named
from napari_blindsr.physics.kernels import Motion
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.read import array_of
from napari_blindsr.plugin.layers.zarr_output import ZarrOutput
from napari_blindsr.plugin.restore.course import Course
from napari_blindsr.plugin.restore.judge import Resolutions, resolutions
from napari_blindsr.plugin.restore.preview import Preview, Previews
from napari_blindsr.plugin.widgets.dock import Run

if TYPE_CHECKING:
    from collections.abc import Container, Generator
    from pathlib import Path

    from napari.layers import Layer

    from napari_blindsr.plugin.layers.inputs import LayerInput
    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.loop import Checkpoint
    from napari_blindsr.stacks.result import StackResult

_log = logging.getLogger(__name__)


class RestoreRun(Run["Result | StackResult"]):
    """One restoration of a layer.

    Attributes
    ----------
    request : Request or None
        None once the run is closed.
    title : str
        What is restored, and how.
    preview : Preview or None
        The latest one, until the dock takes it.
    previews : Previews
        What makes them.
    resolutions : Resolutions or None
        Of the image and of its result, at the end.
    stored : ZarrOutput or None
        Where the result was written.
    checkpoint : Checkpoint or None
        Where an optimisation stands once it has ended; given at the start, it goes on from there.
    """

    kind = "blind super-resolution"

    def __init__(
        self,
        request: Request,
        *,
        checkpoint: Checkpoint | None = None,
        course: Course | None = None,
    ) -> None:
        super().__init__(request.source.name)
        self.request: Request | None = request
        self.settings = request.settings
        self.checkpoint = checkpoint
        self.title = f"{request.source.name} ×{self.settings.scale} ({self.settings.method})"
        self.stored: ZarrOutput | None = None
        self.resolutions: Resolutions | None = None
        self.preview: Preview | None = None
        if course is None:
            course = Course(request.settings.schedule, request.truth)
        self.previews = Previews(request.source, request.settings, course)

    @property
    def source(self) -> LayerInput | None:
        """What is restored; None once the run is closed."""
        return None if self.request is None else self.request.source

    def outdated(self, layers: Container[Layer]) -> str:
        """Return in what the layer is no longer as the request was read from it, or nothing."""
        request = self.request
        if request is None or request.layer is None or request.layer not in layers:
            return "its layer was removed"
        if array_of(request.layer) is not request.pixels:
            return "the pixels of its layer were replaced"
        if not request.source.frame.is_same(Frame.of_layer(request.layer)):
            return "the place, units or axes of its layer were changed"
        return ""

    def _work(self) -> Generator[Progress, bool | None, Result | StackResult]:
        request = self.request
        if request is None:
            raise EngineError(f"the {self!r} was closed before it began")
        source = request.source
        steps, answer = self._open(request), None
        while True:
            try:
                report = steps.send(answer)
            except StopIteration as end:
                result: Result | StackResult = end.value
                try:
                    self.resolutions = resolutions(result, source)
                except Exception:  # noqa: BLE001 - of any kind
                    # The result must not be lost with what is only said about it.
                    _log.exception("The resolution of a result could not be estimated.")
                return result
            if (preview := self.previews.of(report)) is not None:
                # The next one may come before the main thread has taken this one.
                self.preview = preview
            # Tensors stay in this thread.
            answer = yield replace(report, latest=None)

    def _open(self, request: Request) -> Generator[Progress, bool | None, Result | StackResult]:
        """Restore a plane, or a stack plane by plane, in memory or into a file."""
        # Not before now: these import torch, which takes seconds.
        from napari_blindsr.restoration.problem import Link  # noqa: PLC0415
        from napari_blindsr.restoration.restore import iterate  # noqa: PLC0415
        from napari_blindsr.solvers.loop import Checkpoint  # noqa: PLC0415
        from napari_blindsr.stacks.restore_stack import iterate_stack  # noqa: PLC0415

        source, folder = request.source, request.target_folder
        settings = with_kernels_of(request.kernel_folder, request.settings)
        given: dict[str, Any] = {
            "axes": source.axes,
            "known_kernel": None if source.kernel is None else source.kernel.kernel,
            "found": source.kernel is not None and source.kernel.estimated,
            "mask": None if source.mask is None else source.mask.covered,
        }
        if source.options is None:
            if self.checkpoint is None and method_named(settings.method).optimises:
                self.checkpoint = Checkpoint()
            link = None if self.checkpoint is None else Link(checkpoint=self.checkpoint)
            given |= {"region": source.region, "link": link}
            return (yield from iterate(source.data, settings, **given))
        output = None if folder is None else ZarrOutput(folder, source, settings)
        with nullcontext() if output is None else output.writing() as target:
            result = yield from iterate_stack(
                source.data, settings, options=source.options, target=target, **given
            )
        self.stored = output
        return result

    def close(self) -> None:
        """Free all memory. Only while no step is being executed."""
        self.request = self.stored = self.preview = self.checkpoint = None
        self.previews = Previews(None, self.settings, Course(self.settings.schedule, None))
        super().close()


def with_kernels_of(folder: Path | None, settings: Settings) -> Settings:
    """Return settings with the kernels of a folder, if one is to be read."""
    if folder is None:
        return settings
    from napari_blindsr.physics.kernel_files import read_kernel_folder  # noqa: PLC0415

    return replace(settings, kernel=Motion(kernels=read_kernel_folder(folder)))
