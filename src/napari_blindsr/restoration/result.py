"""The result of a run, as arrays in the user's axes and intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.progress import StopReason
    from napari_blindsr.restoration.diagnostics import Flag
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.loop import Weights
    from napari_blindsr.types import Finish


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `napari_blindsr.restore` returns.

    Attributes
    ----------
    image : ndarray, float32
        The restored image in the axes of the input, its two spatial axes `scale` times
        longer, in the intensity unit of the input. Not clipped to the input's range.
    kernel : ndarray, float32, (K, K)
        The blur as a correlation kernel in HR pixels, non-negative, sum 1; if it varies, the one
        in the middle of the output region.
    kernel_center : tuple of float
        (row, column) in `kernel` that corresponds to the position of an LR pixel.
    support : ndarray, float32, (s·h, s·w)
        Fraction of the LR pixels that see each HR pixel through the kernel's core and are valid,
        from 0 to 1; less than 1 near missing pixels and extended borders.
    uncertainty : ndarray, float32, or None
        Standard deviation of each pixel's error, in the shape and unit of `image`; None if not
        asked for.
    covered : ndarray, bool, (s·h, s·w), or None
        Where the image is filled in, because no valid pixel sees it. None if no pixel of the
        input is missing.
    axes : str
        "YX", "YXC" or "CYX".
    offset : float
        δ: LR pixel i lies at HR coordinate scale·i + offset, on both axes. Of a region, i
        counts from where the region begins.
    region : Box or None
        The output region in pixels of the input; None for the whole image.
    tiles : int
        Number of tiles.
    trace : ndarray, float32, (n,)
        The loss of each image step.
    settings : Settings
        The settings of the run.
    gain : float
        The gain that was used.
    noise : float
        Standard deviation of the noise that was assumed, in the input's unit.
    finish : {"none", "prior", "usrnet", "measurement"}
        How the image was reconstructed.
    blur : BlurEstimate or None
        Blur estimate with its uncertainty; None if the kernel was known, optimised or varies.
    field : KernelField or None
        The kernels of the image's regions with their estimates; None if the blur does not vary.
    notes : tuple of str
        Messages, such as why a reconstruction was replaced by another.
    flags : tuple of Flag
        Warnings about the result.
    seconds : float
        Wall time of the run.
    device, dtype : str
        Device, and precision in which the networks were evaluated.
    versions : dict of str to str
    reason : StopReason
        Why the run ended.
    weights : Weights or None
        Of the generators, for the warm start of another run.
    continued : int
        Image steps that an earlier run had taken, which this one continued; 0 of any other.
    """

    image: NDArray[np.float32]
    kernel: NDArray[np.float32]
    support: NDArray[np.float32]
    uncertainty: NDArray[np.float32] | None = None
    covered: NDArray[np.bool_] | None = None
    kernel_center: tuple[float, float]
    axes: str
    offset: float
    region: Box | None = None
    tiles: int = 1
    trace: NDArray[np.float32]
    settings: Settings
    gain: float = 1.0
    noise: float = 0.0
    finish: Finish = "none"
    blur: BlurEstimate | None = None
    field: KernelField | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    seconds: float
    device: str
    dtype: str
    versions: dict[str, str]
    reason: StopReason
    weights: Weights | None = None
    continued: int = 0

    @property
    def psf(self) -> NDArray[np.float32]:
        """The point spread function: the correlation kernel flipped in both axes."""
        return self.kernel[::-1, ::-1]

    @property
    def kernels(self) -> NDArray[np.float32]:
        """The kernel (K, K), or of a field all of them (R, C, K, K), as files hold them."""
        return self.kernel if self.field is None else self.field.kernels

    @property
    def learned_priors(self) -> tuple[str, ...]:
        """Names of the pretrained networks that were used; none was trained on this image."""
        blurs = [] if self.blur is None else [self.blur]
        if self.field is not None:
            blurs += [blur for line in self.field.blurs for blur in line]
        names = ["kernel estimator"] if blurs else []
        if self.finish == "prior":
            names.append("image prior")
        if self.finish == "usrnet":
            names.append("USRNet")
        return tuple(names)

    def _root_mean_square(self) -> float | None:
        """Root mean square of the uncertainty, in the unit of the image."""
        if self.uncertainty is None:
            return None
        return float((self.uncertainty.astype(float) ** 2).mean() ** 0.5)

    def report(self) -> dict[str, Any]:
        """Return everything but the pixels as plain JSON types."""
        settings = self.settings
        return {
            "method": settings.method,
            "scale": settings.scale,
            "seed": settings.seed,
            "finish": self.finish,
            "learned_priors": list(self.learned_priors),
            "blur": None if self.blur is None else self.blur.report(),
            "field": None if self.field is None else self.field.report(),
            "uncertainty": self._root_mean_square(),
            "gain": self.gain,
            "noise": self.noise,
            "covered": 0 if self.covered is None else int(self.covered.sum()),
            "notes": list(self.notes),
            "flags": [flag.report() for flag in self.flags],
            "seconds": self.seconds,
            "device": self.device,
            "dtype": self.dtype,
            "steps": int(self.trace.size),
            "continued": self.continued,
            "reason": str(self.reason),
            "losses": [float(value) for value in self.trace],
            "kernel_center": list(self.kernel_center),
            "kernel_size": int(self.kernel.shape[0]),
            "offset": self.offset,
            "region": None if self.region is None else self.region.to_json(),
            "tiles": self.tiles,
            "axes": self.axes,
            "versions": dict(self.versions),
            "settings": settings.to_json(),
        }
