"""One run on a thread of its own."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_blindsr.errors import BlindSRError, EngineError
from napari_blindsr.physics.kernels import Motion
from napari_blindsr.plugin.layers.inputs import StackInput
from napari_blindsr.plugin.layers.zarr_output import Stored, ZarrOutput
from napari_blindsr.plugin.restore.judge import Resolutions, resolutions
from napari_blindsr.plugin.restore.preview import Preview, Previews

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_blindsr.plugin.layers.inputs import Source
    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.result import StackResult

_log = logging.getLogger(__name__)


class Run:
    """A run, and all that it holds in memory.

    napari keeps every worker, and with it a suspended generator, until its window goes.
    What is large is therefore held here, where `close` can let go of it.

    Parameters
    ----------
    request : Request
    """

    def __init__(self, request: Request) -> None:
        self.source: Source | None = request.source
        self.settings = request.settings
        self._kernel_folder = request.kernel_folder
        self._name = request.source.name
        self._folder = request.target_folder
        self.stored: Stored | None = None
        self.resolutions: Resolutions | None = None
        self.preview: Preview | None = None
        self._previews = Previews(request.source, request.settings)
        self._engine: Generator[Progress, bool | None, Result | StackResult] | None = None

    def __repr__(self) -> str:
        # napari shows this when it is closed during a run.
        return f"blind super-resolution of '{self._name}'"

    def steps(self) -> Generator[Progress, bool | None, Result | StackResult]:
        """Run step by step; send a true value to stop and keep the best state so far.

        For a generator worker. Every failure comes as a `BlindSRError`: a worker swallows
        RuntimeErrors, torch's among them, and then never ends.
        """
        try:
            self._engine = self._open()
            answer: bool | None = None
            while True:
                try:
                    report = self._engine.send(answer)
                except StopIteration as end:
                    result: Result | StackResult = end.value
                    self.resolutions = self._resolutions(result)
                    return result
                if (preview := self._previews.of(report)) is not None:
                    # The next one may come before the main thread has taken this one.
                    self.preview = preview
                # Tensors stay in this thread.
                answer = yield replace(report, latest=None)
        except BlindSRError:
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise EngineError(f"the run failed with {type(error).__name__}: {text}") from error
        finally:
            self._engine = None

    def _resolutions(self, result: Result | StackResult) -> Resolutions | None:
        if self.source is None:
            return None
        try:
            return resolutions(result, self.source)
        except Exception:  # noqa: BLE001 - whatever it is
            # The result must not be lost with what is only said about it.
            _log.exception("The resolution of a result could not be estimated.")
            return None

    def _open(self) -> Generator[Progress, bool | None, Result | StackResult]:
        # Not before now: this imports torch, which takes seconds.
        from napari_blindsr.restoration.restore import iterate  # noqa: PLC0415

        source = self.source
        if source is None:
            raise EngineError(f"{self!r} was closed before it began")
        settings = self._complete_settings()
        kernel = None if source.kernel is None else source.kernel.kernel
        mask = None if source.mask is None else source.mask.covered
        if isinstance(source, StackInput):
            return self._open_stack(source, settings)
        return iterate(
            source.data,
            settings,
            axes=source.axes,
            known_kernel=kernel,
            found=source.kernel is not None and source.kernel.found,
            mask=mask,
            region=source.region,
        )

    def _open_stack(
        self, source: StackInput, settings: Settings
    ) -> Generator[Progress, bool | None, StackResult]:
        """Restore plane by plane, in memory or into a file."""
        from napari_blindsr.stacks.restore_stack import iterate_stack  # noqa: PLC0415

        folder = self._folder
        output = None if folder is None else ZarrOutput(folder, source, settings)
        with nullcontext() if output is None else output.writing() as target:
            result = yield from iterate_stack(
                source.array,
                settings,
                axes=source.layout.axes,
                options=source.options,
                known_kernel=None if source.kernel is None else source.kernel.kernel,
                found=source.kernel is not None and source.kernel.found,
                mask=None if source.mask is None else source.mask.covered,
                target=target,
            )
        if output is not None:
            self.stored = output.open()
        return result

    def _complete_settings(self) -> Settings:
        """Return the settings with the kernels of a folder, if one is to be read."""
        if self._kernel_folder is None:
            return self.settings
        from napari_blindsr.physics.kernel_files import read_kernel_folder  # noqa: PLC0415

        kernels = read_kernel_folder(self._kernel_folder)
        return replace(self.settings, kernel=Motion(kernels=kernels))

    def close(self) -> None:
        """Let go of everything. Only for a run that is not executing a step."""
        engine, self._engine, self.source, self.stored = self._engine, None, None, None
        self.preview, self._previews = None, Previews(None, self.settings)
        if engine is not None:
            engine.close()
