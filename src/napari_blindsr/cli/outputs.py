"""The files that one restored image is written to: all together, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from napari_blindsr.cli.options import (
    FLOAT_SUFFIXES,
    IMAGE_SUFFIXES,
    KERNEL_SUFFIXES,
    MASK_SUFFIXES,
    REPORT_SUFFIXES,
    check_files,
)
from napari_blindsr.images.atomic import Bundle, complete

if TYPE_CHECKING:
    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.restoration.result import Result


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
        # What an earlier run was killed at, between one name and the next.
        complete(self.image, self.written)
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

        from napari_blindsr.images import files, plain  # noqa: PLC0415
        from napari_blindsr.physics import kernel_files  # noqa: PLC0415

        dtype, size = loaded.array.dtype, loaded.pixel_size
        fine = None if size is None else size.divided(result.settings.scale)
        bundle = Bundle(self.image)
        try:
            clipped = plain.write_image(
                self.image,
                result.image,
                dtype=dtype,
                pixel_size=fine,
                description=loaded.description,
                force=self.force,
                bundle=bundle,
            )
            if self.kernel is not None:
                kernel_files.write_kernel(
                    self.kernel, result.kernels, force=self.force, bundle=bundle
                )
            if self.mask is not None:
                covered = result.covered
                if covered is None:
                    covered = np.zeros(result.support.shape, dtype=bool)
                files.write_mask(self.mask, covered, force=self.force, bundle=bundle)
            if self.uncertainty is not None and result.uncertainty is not None:
                plain.write_image(
                    self.uncertainty,
                    result.uncertainty,
                    dtype=result.uncertainty.dtype,
                    pixel_size=fine,
                    force=self.force,
                    bundle=bundle,
                )
            if self.report is not None:
                plain.write_report(self.report, result.report(), force=self.force, bundle=bundle)
        except BaseException:
            bundle.discard()
            raise
        bundle.commit()
        if clipped:
            console.print(
                f"clipped {clipped} of {result.support.size} pixels to the range of {dtype}; "
                ".tif and .npy keep them"
            )
