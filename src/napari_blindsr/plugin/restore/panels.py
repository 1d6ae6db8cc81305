"""The buttons of the dock, and its lines on torch."""

from __future__ import annotations

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget

from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, torch_build
from napari_blindsr.plugin.widgets.fields import side_by_side, text_line


class RunButtons(Container[Widget]):
    """Run, Stop and keep, Cancel; Compare, Save result."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.run = PushButton(
            text="Run",
            tooltip="Estimate the blur of the image and reconstruct a sharper, finer image.\n"
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
        first = side_by_side(self.run, self.stop, self.cancel)
        self.extend([first, side_by_side(self.compare, self.save)])


class TorchLines(Container[Widget]):
    """The installed torch with its devices, and advice on faster ones."""

    def __init__(self) -> None:
        self.torch = text_line("The installed torch and the devices that it can use.")
        self.hint = text_line("How to make runs faster on this machine.")
        self.hint.visible = False
        self.torch.value = f"{torch_build()} · looking for devices …"
        super().__init__(widgets=[self.torch, self.hint], labels=False)
        self.margins = (0, 0, 0, 0)

    def show_devices(self, report: DeviceReport) -> None:
        """Show which devices were found, and what may be missing."""
        found = ", ".join(device_label(name) for name in report.names)
        self.torch.value = f"{torch_build()} · {found}"
        self.hint.value = report.hint
        self.hint.visible = bool(report.hint)
