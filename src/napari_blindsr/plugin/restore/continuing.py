"""More steps of the last optimisation, from where it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from magicgui.widgets import Container, PushButton, SpinBox
from magicgui.widgets.bases import Widget

from napari_blindsr.plugin.restore.worker import RestoreRun
from napari_blindsr.progress import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_blindsr.plugin.restore.course import Course
    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.solvers.loop import Checkpoint

USUAL = 200
"""How many more steps are suggested."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """What a run has left: where its optimisation stands, and its layers, the source first."""

    request: Request
    checkpoint: Checkpoint
    course: Course
    layers: tuple[Layer, ...]

    def run(self, steps: int) -> RestoreRun:
        """Return a run of so many more steps."""
        settings = self.request.settings
        schedule = replace(settings.schedule, image_steps=self.checkpoint.done + steps)
        request = replace(self.request, settings=replace(settings, schedule=schedule))
        return RestoreRun(request, checkpoint=self.checkpoint, course=self.course)


class MoreSteps(Container[Widget]):
    """A number of steps and the button that takes them; hidden while there is nothing to continue.

    Of one run the state is kept: its networks and their optimisers, and the image.
    """

    def __init__(self) -> None:
        tooltip = (
            "Take more steps from where the last run stands, with its settings, and add their\n"
            "result. Up to the steps that were planned it goes on as if it had not been stopped.\n"
            "Beyond them it draws the random kernels that it has in other combinations, and only\n"
            "fits intensities: a run of as many steps at once differs, and fits structure for\n"
            "longer. The state stays in memory until another run begins, another image is\n"
            "chosen, or the image or the result is removed; Cancel drops it."
        )
        self.steps = SpinBox(
            value=USUAL, min=1, max=100_000, step=50, label="More steps", tooltip=tooltip
        )
        self.button = PushButton(text="Continue", tooltip=tooltip)
        super().__init__(widgets=[self.steps, self.button], layout="horizontal", labels=True)
        self.margins = (0, 0, 0, 0)
        self.kept: Kept | None = None
        self.keep(None)

    def keep(self, kept: Kept | None) -> None:
        """Offer to continue a run, or none; what was kept before is given up."""
        self.kept = kept
        self.visible = kept is not None

    def forget(self) -> None:
        """Free the memory of a run; the dock is gone."""
        self.kept = None

    def keep_run(self, run: RestoreRun, reason: StopReason, layers: tuple[Layer, ...]) -> None:
        """Offer to continue a run, if it can go on; one that was stopped, to its planned end."""
        left = run.checkpoint
        if left is None or left.state is None or not layers:
            self.keep(None)
            return
        rest = run.settings.schedule.image_steps - left.done
        if reason is StopReason.STOPPED and rest > 0:
            self.steps.value = rest
        course, request = run.previews.course, run.request
        assert request is not None
        self.keep(Kept(request=request, checkpoint=left, course=course, layers=layers))

    def check(self, image: Layer | None, layers: Sequence[Layer]) -> None:
        """Give up the run unless its image is the chosen one, and its layers are there."""
        kept = self.kept
        if kept is not None and not (
            image == kept.layers[0] and all(layer in layers for layer in kept.layers)
        ):
            self.keep(None)
