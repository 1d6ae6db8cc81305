"""The lower part of the dock: buttons, progress, and what there is to say."""

from __future__ import annotations

from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import Widget

from napari_blindsr._napari.devices import DeviceReport, device_label, torch_build
from napari_blindsr._napari.fields import text_line


class RunButtons(Container[Widget]):
    """Run, Stop and keep, Cancel, Compare."""

    def __init__(self) -> None:
        super().__init__(layout="horizontal", labels=False)
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
            enabled=False,
        )
        self.extend([self.run, self.stop, self.cancel, self.compare])


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
        self.torch.value = f"{torch_build()} · looking for devices …"

    def show_devices(self, report: DeviceReport) -> None:
        """Say which devices were found, and what may be missing."""
        found = ", ".join(device_label(name) for name in report.names)
        self.torch.value = f"{torch_build()} · {found}"
        self.hint.value = report.hint
        self.hint.visible = bool(report.hint)
