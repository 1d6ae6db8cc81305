"""The images of a folder as work for a worker: each is restored into another folder."""

from __future__ import annotations

import os
from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.images.atomic import REPLACES
from napari_blindsr.images.files import find_images
from napari_blindsr.images.metadata import metres
from napari_blindsr.optics import UNKNOWN
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.read import find_plane, nanometres, read_kernel_layer
from napari_blindsr.plugin.restore.worker import with_kernels_of
from napari_blindsr.plugin.widgets.dock import Run
from napari_blindsr.plugin.widgets.fields import caption
from napari_blindsr.plugin.widgets.texts import NAMED
from napari_blindsr.plugin.widgets.verdict import level_of
from napari_blindsr.progress import ProgressCounter
from napari_blindsr.stacks.options import StackOptions

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_blindsr.plugin.restore.form import RunForm
    from napari_blindsr.progress import Progress
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.batch import FileJob, OpenFile
    from napari_blindsr.stacks.result import StackResult

FOR_LAYERS = ("region", "mask", "uncertainty", "lacking", "folder")
"""The fields that go with a layer only."""
TOLERANCE = 0.05
"""Largest relative difference between the size of a pixel and that of the settings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderRequest:
    """All that the restoration of a folder needs.

    `known` is a correlation kernel, or one for each region; `pixel_nm` the size of a pixel that the
    settings hold for, if they hold for one.
    """

    source: Path
    target: Path
    jobs: Sequence[FileJob]
    settings: Settings
    options: StackOptions
    known: NDArray[Any] | None = None
    kernel_folder: Path | None = None
    pixel_nm: float | None = None


def read_folder_request(
    form: RunForm, viewer: ViewerModel, source: Path, target: Path
) -> FolderRequest:
    """Read a form for the images in one folder, whose results go to another one.

    Call it on the main thread. Raises a `BlindSRError` if a setting or a folder cannot be used.
    """
    # Not before now: it imports what writes files.
    from napari_blindsr.stacks.batch import plan_files  # noqa: PLC0415

    settings = form.settings()
    useless = [caption(form.fields[name]) for name in form.changed() if name in FOR_LAYERS]
    if useless:
        raise InputError(
            f"{', '.join(useless)}: set, but only for layers; expected the default for a folder"
        )
    if source.resolve() == target.resolve():
        raise InputError(f"{source} holds the images; expected another folder for the results")
    options = StackOptions(dtype=form.dtype.value)
    if form.is_stack:
        # Otherwise these fields are hidden.
        options = StackOptions(
            dtype=form.dtype.value,
            kernels=form.sharing.value,
            planes=form.chosen_planes,
            warm_start=form.warm_starts,
        )
    known, size = None, settings.optics.pixel_size_nm if settings.optics != UNKNOWN else None
    if settings.kernel == "known":
        layer = form.kernel_layer.value
        if layer is None:
            raise InputError("no kernel layer is chosen; expected an image layer with the kernel")
        scale = settings.scale
        known = read_kernel_layer(layer, viewer.dims, scale=scale, pixel_size=None).kernel
        fine = nanometres(Frame.of_layer(layer), find_plane(layer, viewer.dims))
        size = None if fine is None else fine * scale
    return FolderRequest(
        source=source,
        target=target,
        jobs=plan_files(find_images([source]), target, scale=settings.scale),
        settings=settings,
        options=options,
        known=known,
        kernel_folder=None if form.family is None else form.family.folder,
        # The microscope's kernel has one of its own.
        pixel_nm=getattr(settings.kernel, "pixel_size", size),
    )


class FolderRun(Run[None]):
    """The restoration of the images in a folder.

    Attributes
    ----------
    title : str
        What is restored, and how.
    target : Path
        Where the results are.
    failed : dict of str to str
        Why files were not restored, by their names.
    """

    kind = "blind super-resolution"

    def __init__(self, request: FolderRequest) -> None:
        super().__init__(str(request.source))
        self.settings, self.target, self._request = request.settings, request.target, request
        self.title = f"{request.source.name}/ ×{self.settings.scale} ({self.settings.method})"
        self.failed: dict[str, str] = {}
        self._restored = self._complete = self._doubtful = 0

    def outdated(self, layers: Container[Layer]) -> str:  # noqa: ARG002
        """Return nothing: a folder is no layer, and each of its files is checked by the run."""
        return ""

    @property
    def state(self) -> Literal["done", "failed", "stopped"]:
        """How it ended."""
        if self.failed:
            return "failed"
        return "stopped" if self._left else "done"

    @property
    def _left(self) -> int:
        return len(self._request.jobs) - self._restored - self._complete - len(self.failed)

    @property
    def text(self) -> str:
        """What became of the files, in a sentence or two."""
        counts = [(self._complete, "already complete"), (self._left, "not finished")]
        parts = [f"{self._restored} restored"]
        parts += [f"{count} {what}" for count, what in counts if count]
        if self.failed:
            reasons = [f"{name}: {reason}" for name, reason in self.failed.items()]
            more = len(reasons) - NAMED
            reasons[NAMED:] = [f"{more} more"] if more > 0 else []
            parts.append(f"{len(self.failed)} failed: {'; '.join(reasons)}")
        text = f"{', '.join(parts)}."
        if self._doubtful:
            text += f" Reports with warnings: {self._doubtful}."
        return text

    @property
    def cancelled(self) -> str:
        """What is left of it if it was cancelled."""
        return f"Cancelled; {self.text}"

    def _work(self) -> Generator[Progress, bool | None, None]:
        # Not before now: it imports torch, which takes seconds.
        from napari_blindsr.stacks.batch import restore_files  # noqa: PLC0415

        settings = with_kernels_of(self._request.kernel_folder, self.settings)
        opened = yield from self._open(settings)
        yield from restore_files(opened, ended=self._take)

    def _open(
        self, settings: Settings
    ) -> Generator[Progress, bool | None, list[tuple[OpenFile, str]]]:
        """Open and check all files before the first is restored."""
        from napari_blindsr.stacks.batch import open_unfinished  # noqa: PLC0415

        request, opened = self._request, []
        counter = ProgressCounter(start=0.0, unit="part", total=len(request.jobs))
        for job in request.jobs:
            if (yield counter.progress(f"checking file {counter.done + 1} of {counter.total}")):
                return []
            try:
                found = open_unfinished(job, settings, request.options, known=request.known)
                if found is not None:
                    self._check_pixels(found[0])
            except (BlindSRError, OSError) as error:
                self._fail(job, error)
            else:
                self._complete += found is None
                opened += [] if found is None else [found]
            counter.done += 1
        return opened

    def _check_pixels(self, opened: OpenFile) -> None:
        """Refuse a file with pixels of another size than the settings hold for."""
        expected, size = self._request.pixel_nm, opened.description.pixel_size
        if expected is None or size is None:
            return
        for side in (size.y, size.x):
            length = metres(side * self.settings.scale, size.unit)
            found = expected if length is None else 1e9 * length
            if abs(found - expected) > TOLERANCE * expected:
                raise InputError(
                    f"its pixels are {found:.4g} nm; expected {expected:.4g} nm, as in the form"
                )

    def _take(self, opened: OpenFile, outcome: StackResult | BlindSRError) -> None:
        if isinstance(outcome, BlindSRError):
            self._fail(opened.job, outcome)
        elif outcome.failures:
            planes = f"{len(outcome.failures)} of {len(outcome.records)} planes"
            self._fail(opened.job, InputError(f"{planes} failed: {outcome.failures[0].error}"))
        elif outcome.reason == "completed":
            self._restored += 1
            self._doubtful += level_of(outcome.flags) != "good"

    def _fail(self, job: FileJob, error: Exception) -> None:
        # In napari nothing is replaced.
        reason = str(error).removesuffix(REPLACES)
        # Both folders are known.
        for folder in (self._request.source, self.target):
            reason = reason.replace(f"{folder}{os.sep}", "")
        name = job.source.name
        self.failed[name] = reason.removeprefix(f"cannot read {name}: ")
