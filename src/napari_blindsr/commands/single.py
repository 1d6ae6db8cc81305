"""What ``napari-blindsr restore`` writes and says of one image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from napari_blindsr.commands.options import FAILED
from napari_blindsr.commands.outputs import (
    FLOAT_SUFFIXES,
    IMAGE_SUFFIXES,
    KERNEL_SUFFIXES,
    MASK_SUFFIXES,
    REPORT_SUFFIXES,
    check_files,
)
from napari_blindsr.methods import method_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.io import LoadedImage
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.result import Result


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written of a result, and where."""

    image: Path
    kernel: Path | None
    mask: Path | None
    uncertainty: Path | None
    report: Path | None
    force: bool

    @property
    def written(self) -> list[Path]:
        """The files, in the order in which they are written."""
        paths = (self.image, self.kernel, self.mask, self.uncertainty, self.report)
        return [path for path in paths if path is not None]

    def check(self, *inputs: Path | None) -> None:
        """Check that everything can be written before anything is read."""
        outputs = (
            (self.image, IMAGE_SUFFIXES),
            (self.kernel, KERNEL_SUFFIXES),
            (self.mask, MASK_SUFFIXES),
            (self.uncertainty, FLOAT_SUFFIXES),
            (self.report, REPORT_SUFFIXES),
        )
        check_files(*inputs, outputs=outputs, force=self.force)

    def write(self, result: Result, loaded: LoadedImage, console: Console) -> None:
        """Write what was asked for of a result."""
        import numpy as np  # noqa: PLC0415

        from napari_blindsr import io, masks  # noqa: PLC0415

        dtype, size = loaded.array.dtype, loaded.pixel_size
        clipped = io.write_image(
            self.image,
            result.image,
            dtype=dtype,
            pixel_size=None if size is None else size.divided(result.settings.scale),
            force=self.force,
        )
        if self.kernel is not None:
            io.write_kernel(self.kernel, result.kernels, force=self.force)
        if self.mask is not None:
            covered = result.covered
            if covered is None:
                covered = np.zeros(result.support.shape, dtype=bool)
            masks.write_mask(self.mask, covered, force=self.force)
        if self.uncertainty is not None and result.uncertainty is not None:
            io.write_image(
                self.uncertainty,
                result.uncertainty,
                dtype=result.uncertainty.dtype,
                pixel_size=None if size is None else size.divided(result.settings.scale),
                force=self.force,
            )
        if self.report is not None:
            io.write_report(self.report, result.report(), force=self.force)
        if clipped:
            console.print(
                f"clipped {clipped} of {result.support.size} pixels to the range of {dtype}; "
                ".tif and .npy keep them"
            )


def field_line(field: KernelField) -> str:
    """Return how wide the blur of an image's regions is, in one line."""
    # What imports torch is loaded by the run by now.
    from napari_blindsr.facts import kernel_widths  # noqa: PLC0415

    widths = [math.prod(kernel_widths(field.kernels[place])) ** 0.5 for place in field.places]
    rows, columns = field.shape
    return (
        f"blur of {rows} × {columns} regions: standard deviations from {min(widths):.2f} to "
        f"{max(widths):.2f} pixels of the result"
    )


def conclude(result: Result, written: Sequence[Path], console: Console) -> int:
    """Say how a run ended; returns the exit code."""
    lines = [f"note: {note}" for note in result.notes]
    lines += [f"caution: {f.message}. {f.meaning} {f.advice}" for f in result.flags]
    if result.settings.gain == "auto":
        lines.append(f"gain {result.gain:.3g} (estimated)")
    if result.settings.noise == "auto":
        lines.append(f"noise {result.noise:.3g} (estimated)")
    names = ", ".join(map(str, written))
    if result.blur is not None:
        widths = " and ".join(
            f"{width:.2f} ({low:.2f}–{high:.2f})"
            for width, (low, high) in zip(result.blur.widths, result.blur.intervals, strict=True)
        )
        lines.append(f"blur: standard deviations {widths} pixels of the result")
    if result.field is not None:
        lines.append(field_line(result.field))
    if result.learned_priors:
        lines.append(f"trained networks that took part: {', '.join(result.learned_priors)}")
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f"{result.trace.size} steps and "
    lines.append(f"{result.reason} after {steps}{result.seconds:.0f} s; wrote {names}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    return FAILED if result.reason == "diverged" else 0
