"""The inputs of metrics, and intermediate results that several metrics share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.decorrelation import Decorrelation, decorrelation
from napari_blindsr.metrics.frc import RingCorrelation, half_image_correlation, ring_correlation
from napari_blindsr.metrics.kernel import KernelShape, diffraction_limit, kernel_shape
from napari_blindsr.metrics.registration import Registered, fit_intensity, register
from napari_blindsr.metrics.residual import Residual, predict, residual
from napari_blindsr.metrics.squirrel import ResolutionScaledError, error_map
from napari_blindsr.types import CRITERIA, Criterion

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricInputs:
    """An image, and all that is known of it.

    Images are grey (H, W) or RGB (H, W, 3), of integers or floats, all in one unit of
    intensity. What several metrics share is computed once, on first use.

    Attributes
    ----------
    image : ndarray, (H, W) or (H, W, 3)
        A result, or any image.
    reference : ndarray, optional
        The truth, of the image's size.
    source : ndarray, (h, w) or (h, w, 3), optional
        The image was made from it; H = s·h.
    kernel : ndarray, (K, K), optional
        Correlation kernel in pixels of the image, as `napari_blindsr.Result` has it.
    true_kernel : ndarray, (K, K), optional
    second : ndarray, optional
        Another image of the specimen, of the image's size, with independent noise: a second
        acquisition, or the restoration of one.
    second_source : ndarray, optional
        A second acquisition of the source's size.
    geometry : {"camera", "benchmark"}
        The place of the source's pixels.
    border : {"extend", "circular"}
    gain : float
        Brightness of the source relative to the image.
    noise : float, optional
        Standard deviation of the noise in the source; estimated if left out.
    covered : ndarray, bool, (h, w), optional
        Missing pixels of the source, besides those that are not finite.
    pixel_size : float, optional
        Side of a pixel of the image, in nm.
    numerical_aperture : float, optional
    wavelength : float, optional
        Of the emission, in nm.
    registers : bool
        Whether the image is moved to its reference, and the second acquisition to the first,
        before they are compared.
    fits_intensity : bool
        Whether a scale and an offset that bring the image closest to its reference are applied
        before they are compared.
    data_range : float, optional
        The peak, for PSNR and SSIM; that of `uint8` for a reference of this type, else
        the range of the reference.
    crop : int
        Pixels left out at each border when the image is compared with its reference.
    criterion : {"one-seventh", "half-bit", "three-sigma"}
        Of Fourier ring correlation.
    """

    image: NDArray[Any]
    reference: NDArray[Any] | None = None
    source: NDArray[Any] | None = None
    kernel: NDArray[Any] | None = None
    true_kernel: NDArray[Any] | None = None
    second: NDArray[Any] | None = None
    second_source: NDArray[Any] | None = None
    geometry: Literal["camera", "benchmark"] = "camera"
    border: Literal["extend", "circular"] = "extend"
    gain: float = 1.0
    noise: float | None = None
    covered: NDArray[np.bool_] | None = field(default=None)
    pixel_size: float | None = None
    numerical_aperture: float | None = None
    wavelength: float | None = None
    registers: bool = True
    fits_intensity: bool = False
    data_range: float | None = None
    crop: int = 0
    criterion: Criterion = "one-seventh"

    def __post_init__(self) -> None:
        for name in ("image", "reference", "source", "second", "second_source"):
            if (array := getattr(self, name)) is not None:
                _check_image(name.replace("_", " "), np.asarray(array))
        for name in ("reference", "second"):
            self._check_size(name, self.image)
        if self.second_source is not None and self.source is None:
            raise InputError("a second source is given without the first one")
        if self.source is not None:
            if not np.isfinite(self.source).any():
                raise InputError("the source has no finite value; expected some that were measured")
            self._check_size("second_source", self.source)
            self._check_scale(self.source)
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("pixel_size", "numerical_aperture", "wavelength", "gain", "data_range"):
            if (value := getattr(self, name)) is not None and not 0 < value < np.inf:
                raise InputError(f"{name} is {value}; expected a positive number")
        if self.noise is not None and not 0 <= self.noise < np.inf:
            raise InputError(f"noise is {self.noise}; expected a number from 0 on")
        if self.crop < 0:
            raise InputError(f"crop is {self.crop}; expected a number from 0 on")
        if self.criterion not in CRITERIA:
            raise InputError(f"criterion is {self.criterion!r}; expected one of {list(CRITERIA)}")

    def _check_size(self, name: str, partner: NDArray[Any]) -> None:
        array = getattr(self, name)
        if array is not None and np.shape(array) != np.shape(partner):
            raise InputError(
                f"the {name.replace('_', ' ')} has shape {np.shape(array)}; expected "
                f"{np.shape(partner)}, the shape of its partner"
            )

    def _check_scale(self, source: NDArray[Any]) -> None:
        fine, coarse = np.shape(self.image), np.shape(source)
        scale = fine[0] // coarse[0]
        if fine != (scale * coarse[0], scale * coarse[1], *coarse[2:]) or scale < 1:
            raise InputError(
                f"the image has shape {fine} and its source {coarse}; expected a whole multiple, "
                "the same along both axes, and as many channels"
            )
        if self.covered is not None and self.covered.shape != coarse[:2]:
            raise InputError(
                f"the mask of covered pixels has shape {self.covered.shape}; expected {coarse[:2]}"
            )

    def allows(self, needs: tuple[str, ...]) -> bool:
        """Whether all of some attributes are known."""
        return all(getattr(self, name) is not None for name in needs)

    @property
    def scale(self) -> int:
        """How many times finer the image is than its source; 1 without one."""
        return 1 if self.source is None else len(self.image) // len(self.source)

    @property
    def offset(self) -> float:
        """δ: pixel i of the source lies at pixel s·i + δ of the image."""
        from napari_blindsr.physics.observation import phase  # noqa: PLC0415

        return phase(self.scale, self.geometry)

    @property
    def measured(self) -> NDArray[np.bool_] | None:
        """The valid pixels (h, w) of the source; None is all."""
        assert self.source is not None
        finite = np.asarray(np.isfinite(_planes(self.source)).all(axis=0))
        if self.covered is not None:
            finite &= ~self.covered
        return None if finite.all() else finite

    @property
    def picture(self) -> NDArray[np.uint8] | None:
        """The image as 8 bit, if the reference is of 8 bit; None otherwise."""
        if self.reference is None or np.asarray(self.reference).dtype != np.uint8:
            return None
        return np.asarray(np.clip(np.rint(self.image), 0, 255), dtype=np.uint8)

    @property
    def diffraction_limit(self) -> float:
        """0.51 λ/NA in nm."""
        assert self.numerical_aperture is not None
        assert self.wavelength is not None
        return diffraction_limit(self.numerical_aperture, self.wavelength)

    @property
    def peak(self) -> float:
        """The peak, for PSNR and SSIM."""
        if self.data_range is not None:
            return self.data_range
        reference = np.asarray(self.reference)
        if reference.dtype == np.uint8:
            return 255.0
        found = float(reference.max() - reference.min())
        if found == 0:
            raise InputError("the reference is constant; expected a data range")
        return found

    @cached_property
    def compared(self) -> Registered:
        """Image and reference, registered, cropped and fitted by the options."""
        assert self.reference is not None
        image, reference = _planes(self.image), _planes(self.reference)
        both = Registered(image=image, reference=reference, shift=(0.0, 0.0))
        if self.registers:
            both = register(image, reference)
        image, reference = (_cropped(planes, self.crop) for planes in (both.image, both.reference))
        if self.fits_intensity:
            image, _, _ = fit_intensity(image, reference)
        return Registered(image=image, reference=reference, shift=both.shift)

    @cached_property
    def residual(self) -> Residual:
        """Source minus the forward model of the image, in units of the noise."""
        assert self.source is not None
        assert self.kernel is not None
        predicted = predict(
            _planes(self.image),
            self.kernel,
            scale=self.scale,
            geometry=self.geometry,
            border=self.border,
            gain=self.gain,
        )
        measured = self.measured
        source = _planes(self.source)
        return residual(
            source if measured is None else np.where(measured, source, 0.0),
            predicted,
            self.kernel,
            scale=self.scale,
            border=self.border,
            measured=measured,
            noise=self.noise,
        )

    @cached_property
    def error_map(self) -> ResolutionScaledError:
        """RSE, RSP and their map."""
        assert self.source is not None
        return error_map(
            _grey(self.image), _grey(self.source), offset=self.offset, measured=self.measured
        )

    @cached_property
    def ring_correlation(self) -> RingCorrelation:
        """Of the image and the second one."""
        assert self.second is not None
        return self._correlate(self.image, self.second)

    @cached_property
    def source_ring_correlation(self) -> RingCorrelation:
        """Of the source and the second acquisition; frequencies in cycles a source pixel."""
        assert self.source is not None
        assert self.second_source is not None
        return self._correlate(self.source, self.second_source)

    def _correlate(self, first: NDArray[Any], second: NDArray[Any]) -> RingCorrelation:
        one, other = _grey(first), _grey(second)
        if self.registers:
            both = register(other[None], one[None])
            one, other = both.reference[0], both.image[0]
        return ring_correlation(one, other, criterion=self.criterion)

    @cached_property
    def half_image_correlation(self) -> RingCorrelation:
        """Of both halves of the source; frequencies in cycles a source pixel."""
        assert self.source is not None
        return half_image_correlation(_grey(self.source), criterion=self.criterion)

    @cached_property
    def decorrelation(self) -> Decorrelation:
        """Of the image."""
        return decorrelation(_grey(self.image))

    @cached_property
    def source_decorrelation(self) -> Decorrelation:
        """Of the source; frequencies in cycles a source pixel."""
        assert self.source is not None
        return decorrelation(_grey(self.source))

    @cached_property
    def kernel_shape(self) -> KernelShape:
        """Widths, angle and profiles of the kernel."""
        assert self.kernel is not None
        return kernel_shape(self.kernel)


def _check_image(name: str, array: NDArray[Any]) -> None:
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise InputError(f"the {name} has shape {array.shape}; expected (H, W) or (H, W, 3)")
    if array.dtype.kind not in "iuf" or array.size == 0:
        raise InputError(
            f"the {name} has {array.size} values of type {array.dtype}; expected numbers"
        )
    if name != "source" and not np.isfinite(array).all():
        raise InputError(f"the {name} has values that are NaN or infinite; expected finite ones")


def _planes(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return an image as (C, H, W)."""
    array = np.asarray(image, dtype=np.float64)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def _grey(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of an image's channels; what is not finite becomes the mean."""
    plane: NDArray[np.float64] = _planes(image).mean(axis=0)
    finite = np.isfinite(plane)
    return plane if finite.all() else np.where(finite, plane, plane[finite].mean())


def _cropped(planes: NDArray[np.float64], crop: int) -> NDArray[np.float64]:
    if min(planes.shape[1:]) <= 2 * crop:
        raise InputError(f"cannot crop {crop} pixels off each side of {planes.shape[1:]}")
    return planes[:, crop : planes.shape[1] - crop, crop : planes.shape[2] - crop]
