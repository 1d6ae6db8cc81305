"""The buttons of the dock, and what it says of a run while it goes on."""

from __future__ import annotations

from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import Widget
from napari.utils import progress as ActivityBar

from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, torch_build
from napari_blindsr.plugin.widgets.fields import text_line
from napari_blindsr.plugin.widgets.texts import progress_text, stage_text
from napari_blindsr.progress import Progress


class RunButtons(Container[Widget]):
    """Run, Stop and keep, Cancel; Compare, Save result."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.run = PushButton(
            text="Run",
            tooltip="Estimate the blur of the image and a finer image.\n"
            "The viewer stays usable meanwhile.",
        )
        self.stop = PushButton(
            text="Stop and keep",
            tooltip="End the run after the current step and keep the best result so far.",
        )
        self.cancel = PushButton(
            text="Cancel", tooltip="End the run after the current step and drop its result."
        )
        self.compare = PushButton(
            text="Compare",
            tooltip="Compare the last result with its source: a curtain whose edge is dragged.",
        )
        self.save = PushButton(
            text="Save result …",
            tooltip="Save the selected results, or the last one, as OME-TIFF, ImageJ TIFF or\n"
            "OME-Zarr, with pixel sizes, units, names and colours. Several become channels.",
        )
        first = _row([self.run, self.stop, self.cancel])
        self.extend([first, _row([self.compare, self.save])])


def _row(buttons: list[Widget]) -> Container[Widget]:
    row = Container[Widget](widgets=buttons, layout="horizontal", labels=False)
    row.margins = (0, 0, 0, 0)
    return row


class RunStatus(Container[Widget]):
    """How a run goes, what torch is there, and advice."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.bar = ProgressBar(
            value=0, min=0, max=1, tooltip="Image steps done, of those planned for the run."
        )
        self.message = text_line("What the run is doing: step, loss of this step, time left.")
        self.torch = text_line("The installed torch and the devices that it can use.")
        self.hint = text_line("How to make runs faster on this machine.")
        self.hint.visible = False
        self.extend([self.bar, self.message, self.torch, self.hint])
        self._activity: ActivityBar | None = None
        self.torch.value = f"{torch_build()} · looking for devices …"

    def show_devices(self, report: DeviceReport) -> None:
        """Say which devices were found, and what may be missing."""
        found = ", ".join(device_label(name) for name in report.names)
        self.torch.value = f"{torch_build()} · {found}"
        self.hint.value = report.hint
        self.hint.visible = bool(report.hint)

    def begin(self, name: str) -> None:
        """Show that a run has begun, here and in napari's list of activities."""
        self.bar.max = 0
        self.message.value = "Starting …"
        self._activity = ActivityBar(total=0, desc=f"Restoring {name}")

    def show_progress(self, report: Progress) -> None:
        """Show how far a run is; what is done in one go is not measured."""
        counted = report.step > 0 or report.total > 1
        self.bar.max = report.total if counted else 0
        if counted:
            self.bar.value = report.step
        self.message.value = progress_text(report)
        activity = self._activity
        if activity is not None:
            activity.set_description(stage_text(report))
            if counted and activity.total != report.total:
                activity.total = report.total
            activity.update(report.step - activity.n)

    def end(self, *, complete: bool) -> None:
        """Show that a run has ended."""
        self.bar.max = max(1, int(self.bar.max))
        self.bar.value = self.bar.max if complete else 0
        self.close_activity()

    def close_activity(self) -> None:
        """Take the run off napari's list of activities; the dock may be gone."""
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.close()
