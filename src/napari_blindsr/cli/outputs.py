"""The files that one restored image is written to: all together, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_blindsr.cli.options import (
    FLOAT_SUFFIXES,
    IMAGE_SUFFIXES,
    KERNEL_SUFFIXES,
    MASK_SUFFIXES,
    REPORT_SUFFIXES,
    KernelOutOption,
    check_files,
)
from napari_blindsr.errors import FileError, SettingsError
from napari_blindsr.images.atomic import Bundle, complete
from napari_blindsr.settings import FEWEST_RESTORATIONS

if TYPE_CHECKING:
    from rich.console import Console

    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.restoration.result import Result


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written beside the image."""

    kernel_out: KernelOutOption = None
    mask_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the mask of the filled-in pixels of the result goes, 255 where filled "
            "in: .png or .tif."
        ),
    ] = None
    uncertainty: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Compute the standard deviation of each pixel from so many additional "
            f"restorations, at least 1 with the image prior, {FEWEST_RESTORATIONS} without; 0 is "
            "off. Not where an optimisation would be repeated.",
        ),
    ] = 0
    uncertainty_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the standard deviation of each pixel goes, in the input's intensities: "
            ".tif or .npy."
        ),
    ] = None
    report: Annotated[Path | None, typer.Option(help="Where a report of the run goes: .json.")] = (
        None
    )

    def __post_init__(self) -> None:
        if (self.uncertainty > 0) != (self.uncertainty_out is not None):
            raise SettingsError(
                f"--uncertainty is {self.uncertainty} and --uncertainty-out is "
                f"{'missing' if self.uncertainty_out is None else 'given'}; expected both or none"
            )

    def written(self, image: Path) -> list[Path]:
        """Return the files, in the order in which they are written."""
        paths = (image, self.kernel_out, self.mask_out, self.uncertainty_out, self.report)
        return [path for path in paths if path is not None]

    def check(self, image: Path, *inputs: Path | None, force: bool) -> None:
        """Check that all outputs can be written before any input is read."""
        # An earlier run may have been killed while it renamed its files.
        complete(image, self.written(image))
        outputs = (
            (image, IMAGE_SUFFIXES),
            (self.kernel_out, KERNEL_SUFFIXES),
            (self.mask_out, MASK_SUFFIXES),
            (self.uncertainty_out, FLOAT_SUFFIXES),
            (self.report, REPORT_SUFFIXES),
        )
        check_files(*inputs, outputs=outputs, force=force)

    def check_none(self) -> None:
        """Raise a `FileError` if any is given; they are written for a single image only."""
        for name in ("kernel_out", "mask_out", "uncertainty_out", "report"):
            path = getattr(self, name)
            if path is not None:
                raise FileError(
                    f"--{name.replace('_', '-')} is {path}, which goes with one grey or RGB image "
                    "that this process restores; kernels and report of a stack, of files in "
                    "--output-dir, and of what a cluster restores, are written beside the results"
                )

    def write(
        self, image: Path, result: Result, loaded: LoadedImage, *, force: bool, console: Console
    ) -> list[Path]:
        """Write a result; returns the files."""
        import numpy as np  # noqa: PLC0415

        from napari_blindsr.images import files, plain  # noqa: PLC0415
        from napari_blindsr.physics import kernel_files  # noqa: PLC0415

        dtype, size = loaded.array.dtype, loaded.pixel_size
        fine = None if size is None else size.divided(result.settings.scale)
        bundle = Bundle(image)
        written = self.written(image)
        try:
            clipped = plain.write_image(
                image,
                result.image,
                dtype=dtype,
                pixel_size=fine,
                description=loaded.description,
                force=force,
                bundle=bundle,
            )
            if self.kernel_out is not None:
                kernel_files.write_kernel(
                    self.kernel_out, result.kernels, force=force, bundle=bundle
                )
            if self.mask_out is not None:
                covered = result.covered
                if covered is None:
                    covered = np.zeros(result.support.shape, dtype=bool)
                files.write_mask(self.mask_out, covered, force=force, bundle=bundle)
            if self.uncertainty_out is not None and result.uncertainty is None:
                # The run was stopped before it had one.
                written.remove(self.uncertainty_out)
            elif self.uncertainty_out is not None:
                assert result.uncertainty is not None
                plain.write_image(
                    self.uncertainty_out,
                    result.uncertainty,
                    dtype=result.uncertainty.dtype,
                    pixel_size=fine,
                    force=force,
                    bundle=bundle,
                )
            if self.report is not None:
                plain.write_report(self.report, result.report(), force=force, bundle=bundle)
        except BaseException:
            bundle.discard()
            raise
        bundle.commit()
        if clipped:
            console.print(
                f"clipped {clipped} of {result.support.size} pixels to the range of {dtype}; "
                ".tif and .npy keep them"
            )
        return written
