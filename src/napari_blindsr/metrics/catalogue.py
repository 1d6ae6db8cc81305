"""The one list of metrics, and what a metric is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_blindsr.metrics import fidelity
from napari_blindsr.metrics.fidelity import psnr_y, ssim_y
from napari_blindsr.metrics.kernel import kernel_error, kernel_psnr, same_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_blindsr.metrics.inputs import MetricInputs


ONE_RESTORED = (
    "It rewards sharpness, not truth: of a restored image it says what the method delivers, not "
    "what the specimen has. Structure that a prior has made up counts as resolution."
)
NEEDS_TRUTH = "It needs a truth, which a microscope does not give."

LENGTH_UNIT = "px"
"""Unit of metrics that are lengths in pixels of the image; they are given in nm as well."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, as tables, tooltips and tests see it.

    Attributes
    ----------
    name : str
        A valid identifier.
    label : str
        What a table shows.
    unit : str
        Empty for a pure number; "px" for a length in pixels of the image.
    definition : str
        What the number is, in one or two sentences.
    source : str
        Where it was published, or the program it agrees with.
    caveat : str
        What it does not say.
    needs : tuple of str
        Attributes of `MetricInputs` without which there is no value; empty for those that need
        the image alone.
    better : {"higher", "lower", "neither"}
    function : callable
        Takes `MetricInputs` and returns a float; raises an `InputError` if the inputs do
        not allow it.
    """

    name: str
    label: str
    unit: str = ""
    definition: str
    source: str
    caveat: str
    needs: tuple[str, ...] = ()
    better: Literal["higher", "lower", "neither"]
    function: Callable[[MetricInputs], float]

    @property
    def subject(self) -> Literal["image", "kernel"]:
        """What it measures: the kernel alone, or the image."""
        return (
            "kernel"
            if {"kernel", "true_kernel"} & {*self.needs}
            and not ({"source", "reference"} & {*self.needs})
            else "image"
        )

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better; of a metric that is a matter of better and worse."""
        return self.better == "higher"

    @property
    def tooltip(self) -> str:
        """Definition, source and caveat, a line each."""
        return f"{self.definition}\nSource: {self.source}\nCaveat: {self.caveat}"

    def __call__(self, inputs: MetricInputs) -> float:
        """Return the value.

        Raises
        ------
        InputError
        """
        return self.function(inputs)


METRICS: tuple[Metric, ...] = (
    Metric(
        name="psnr_y",
        label="Y-PSNR",
        unit="dB",
        definition="10·log10(255² / mean squared difference) of the luma, both rounded to 8 bit, "
        "without registration.",
        source="The field's published tables; luma by BT.601.",
        caveat=f"For 8-bit pictures alone. {NEEDS_TRUTH}",
        needs=("picture", "reference"),
        better="higher",
        function=lambda e: psnr_y(e.picture, e.reference, crop=e.crop),  # type: ignore[arg-type]
    ),
    Metric(
        name="ssim_y",
        label="SSIM",
        definition="Mean structural similarity of the luma, both rounded to 8 bit, without "
        "registration; Gaussian window of 11×11 pixels, σ 1.5, where it fits in.",
        source="Wang et al., IEEE Trans. Image Process. 13:600 (2004).",
        caveat=f"For 8-bit pictures alone. {NEEDS_TRUTH}",
        needs=("picture", "reference"),
        better="higher",
        function=lambda e: ssim_y(e.picture, e.reference, crop=e.crop),  # type: ignore[arg-type]
    ),
    Metric(
        name="psnr",
        label="PSNR",
        unit="dB",
        definition="10·log10(range² / mean squared difference) in the images' own intensities; "
        "the range is 255 for an 8-bit reference, else that of the reference.",
        source="As scikit-image's peak_signal_noise_ratio.",
        caveat="One bright pixel in the reference widens the range and raises the score of all. "
        + NEEDS_TRUTH,
        needs=("reference",),
        better="higher",
        function=lambda e: fidelity.psnr(e.compared.image, e.compared.reference, data_range=e.peak),
    ),
    Metric(
        name="ssim",
        label="SSIM (own intensities)",
        definition="Mean structural similarity; Gaussian window, σ 1.5, the range as for PSNR, "
        "the mean over channels.",
        source="Wang et al. (2004); as scikit-image's structural_similarity with "
        "gaussian_weights and population covariances.",
        caveat="Made for pictures: dark background, which most micrographs mostly are, scores "
        f"high or low by its noise alone. {NEEDS_TRUTH}",
        needs=("reference",),
        better="higher",
        function=lambda e: fidelity.ssim(e.compared.image, e.compared.reference, data_range=e.peak),
    ),
    Metric(
        name="nrmse",
        label="NRMSE",
        definition="‖image − reference‖₂ / ‖reference‖₂.",
        source="As scikit-image's normalized_root_mse, euclidean.",
        caveat="A camera's offset counts as signal and makes it smaller. " + NEEDS_TRUTH,
        needs=("reference",),
        better="lower",
        function=lambda e: fidelity.nrmse(e.compared.image, e.compared.reference),
    ),
    Metric(
        name="ms_ssim",
        label="MS-SSIM",
        definition="Structural similarity on five scales, each half as fine, weighted 0.0448, "
        "0.2856, 0.3001, 0.2363, 0.1333; the mean over channels.",
        source="Wang, Simoncelli & Bovik, Asilomar Conf. Signals 2:1398 (2003).",
        caveat="Needs 176 pixels a side; the finest scale, where restoration happens, weighs "
        f"least. {NEEDS_TRUTH}",
        needs=("reference",),
        better="higher",
        function=lambda e: fidelity.ms_ssim(
            e.compared.image, e.compared.reference, data_range=e.peak
        ),
    ),
    Metric(
        name="misplacement",
        label="moved to the reference by",
        unit=LENGTH_UNIT,
        definition="Distance by which the image was moved before it was compared.",
        source="Guizar-Sicairos et al., Optics Letters 33:156 (2008), as in scikit-image.",
        caveat="Kernel and image can move together without any change in the data; this is no "
        "error of the image's content.",
        needs=("reference",),
        better="neither",
        function=lambda e: float((e.compared.shift[0] ** 2 + e.compared.shift[1] ** 2) ** 0.5),
    ),
    Metric(
        name="kernel_psnr",
        label="kernel PSNR",
        unit="dB",
        definition="10·log10(1 / mean squared difference) of two kernels of sum 1, not centred.",
        source="The field's published tables.",
        caveat="Its peak is 1, not the kernel's: all wide kernels score high. Prefer e_k.",
        needs=("kernel", "true_kernel"),
        better="higher",
        function=lambda e: kernel_psnr(*same_size(e.kernel, e.true_kernel)),  # type: ignore[arg-type]
    ),
    Metric(
        name="kernel_error",
        label="e_k",
        definition="‖k̂ − k‖₂ / ‖k‖₂ after both kernels were centred.",
        source="This package.",
        caveat="It needs the true kernel, such as a measured point spread function.",
        needs=("kernel", "true_kernel"),
        better="lower",
        function=lambda e: kernel_error(*same_size(e.kernel, e.true_kernel)),  # type: ignore[arg-type]
    ),
    Metric(
        name="residual_level",
        label="residual / noise",
        definition="Root mean square of (source − forward model of the image), in units of the "
        "noise in each pixel of the source.",
        source="This package; the noise by Immerkær, CVIU 64:300 (1996), growing with the light "
        "where the source shows that.",
        caveat="1 says that image and kernel explain all but the noise, not that they are right: "
        "many pairs do. Much below 1 the image follows the noise; the noise is an estimate.",
        needs=("source", "kernel"),
        better="neither",
        function=lambda e: e.residual.level,
    ),
    Metric(
        name="residual_whiteness",
        label="residual's autocorrelation / white noise's",
        definition="Root mean square autocorrelation of the residual at the 12 distances of up to "
        "2 pixels, over its expectation for white noise, 1/√n. For one channel its square times 12 "
        "is χ²-distributed with 12 degrees of freedom: 1 on the average, above 1.5 by chance in "
        "1 of 100 cases.",
        source="Box & Pierce, J. Am. Stat. Assoc. 65:1509 (1970), in two dimensions.",
        caveat="In a large image the faintest pattern is significant, so see the map. Where "
        "the image follows the noise, what is left of it is not white either.",
        needs=("source", "kernel"),
        better="lower",
        function=lambda e: e.residual.whiteness,
    ),
    Metric(
        name="rsp",
        label="RSP",
        definition="Pearson correlation of the source with the image, blurred by the round "
        "Gaussian and scaled by the factor and offset that fit best.",
        source="Culley et al., Nature Methods 15:263 (2018), NanoJ-SQUIRREL.",
        caveat="Says how well the image explains its source at the source's resolution, noise "
        "included: plain interpolation scores as high as the truth, and finer structure can be "
        "wrong without a trace.",
        needs=("source",),
        better="higher",
        function=lambda e: e.error_map.rsp,
    ),
    Metric(
        name="rse",
        label="RSE",
        unit="intensity",
        definition="Root mean square difference of the source and the image blurred and scaled as "
        "for RSP.",
        source="Culley et al. (2018).",
        caveat="In the source's intensities, its noise included: compare images of the same "
        "source only.",
        needs=("source",),
        better="lower",
        function=lambda e: e.error_map.rse,
    ),
    Metric(
        name="resolution_frc",
        label="resolution, FRC",
        unit=LENGTH_UNIT,
        definition="1 / frequency at which the Fourier ring correlation of two images of the same "
        "specimen first falls below the threshold (1/7 by default).",
        source="Nieuwenhuizen et al., Nature Methods 10:557 (2013); van Heel & Schatz, J. Struct. "
        "Biol. 151:250 (2005).",
        caveat="It shows what is reproduced, not what is true: two images restored with the same "
        "prior share what the prior has made up. Both need independent noise.",
        needs=("second",),
        better="lower",
        function=lambda e: e.ring_correlation.resolution,
    ),
    Metric(
        name="resolution_frc_source",
        label="resolution of the source, FRC",
        unit=LENGTH_UNIT,
        definition="The same of the source and a second acquisition, in pixels of the image.",
        source="As for the image.",
        caveat="Both acquisitions need independent noise; fixed patterns of the camera are the "
        "same in both and count as resolution.",
        needs=("source", "second_source"),
        better="lower",
        function=lambda e: e.scale * e.source_ring_correlation.resolution,
    ),
    Metric(
        name="resolution_halves_source",
        label="resolution of the source, FRC of halves",
        unit=LENGTH_UNIT,
        definition="The same of both diagonal halves of the source's pixels, in pixels of the "
        "image.",
        source="Koho et al., Nature Communications 10:3103 (2019).",
        caveat="Valid for a camera's image alone, whose pixels have independent noise, and up "
        "to half its Nyquist frequency; finer detail folds back and misleads it. The halves have a "
        "quarter of the pixels, so it errs on the coarse side; the calibration that Koho et al. "
        "measured for their microscopes is not applied.",
        needs=("source",),
        better="lower",
        function=lambda e: e.scale * e.half_image_correlation.resolution,
    ),
    Metric(
        name="resolution_decorrelation",
        label="resolution, decorrelation",
        unit=LENGTH_UNIT,
        definition="1 / highest frequency at which the correlation of the image, high-passed or "
        "not, with its normalised spectrum has a peak.",
        source="Descloux, Grußmayer & Radenovic, Nature Methods 16:918 (2019).",
        caveat=ONE_RESTORED,
        better="lower",
        function=lambda e: e.decorrelation.resolution,
    ),
    Metric(
        name="resolution_decorrelation_source",
        label="resolution of the source, decorrelation",
        unit=LENGTH_UNIT,
        definition="The same of the source, in pixels of the image.",
        source="Descloux et al. (2019).",
        caveat="A source that is sampled too coarsely has its peak at its own Nyquist frequency, "
        "whatever the optics.",
        needs=("source",),
        better="lower",
        function=lambda e: e.scale * e.source_decorrelation.resolution,
    ),
    Metric(
        name="fwhm_longer",
        label="kernel's FWHM, longer axis",
        unit=LENGTH_UNIT,
        definition="Full width at half maximum of the kernel's profile through its centre, along "
        "the longer axis of its core.",
        source="This package.",
        caveat="The estimated blur: optics, motion, and the pixel's own width together.",
        needs=("kernel",),
        better="neither",
        function=lambda e: e.kernel_shape.longer.fwhm,
    ),
    Metric(
        name="fwhm_shorter",
        label="kernel's FWHM, shorter axis",
        unit=LENGTH_UNIT,
        definition="The same along the shorter axis.",
        source="This package.",
        caveat="A width near one pixel is not resolved by the kernel's own grid.",
        needs=("kernel",),
        better="neither",
        function=lambda e: e.kernel_shape.shorter.fwhm,
    ),
    Metric(
        name="kernel_angle",
        label="kernel's angle",
        unit="°",
        definition="Of the longer axis, clockwise from the image's rows, from 0 to 180.",
        source="This package.",
        caveat="Means nothing for a round kernel. The point spread function, the kernel turned by "
        "180°, has the same angle.",
        needs=("kernel",),
        better="neither",
        function=lambda e: e.kernel_shape.angle,
    ),
    Metric(
        name="diffraction_limit",
        label="diffraction limit (FWHM)",
        unit=LENGTH_UNIT,
        definition="0.51 λ/NA, the full width at half maximum of the Airy pattern's intensity.",
        source="Born & Wolf, Principles of Optics.",
        caveat="In focus, without aberrations, for wide-field detection of light of one "
        "wavelength.",
        needs=("pixel_size", "numerical_aperture", "wavelength"),
        better="neither",
        function=lambda e: e.diffraction_limit / e.pixel_size,  # type: ignore[operator]
    ),
    Metric(
        name="fwhm_over_limit",
        label="kernel's FWHM / diffraction limit",
        definition="Of the kernel's longer axis.",
        source="This package; the limit is 0.51 λ/NA.",
        caveat="Below 1 the kernel is narrower than light allows: a wrong pixel size, aperture or "
        "wavelength, or a wrong kernel.",
        needs=("kernel", "pixel_size", "numerical_aperture", "wavelength"),
        better="neither",
        function=lambda e: e.kernel_shape.longer.fwhm * e.pixel_size / e.diffraction_limit,  # type: ignore[operator]
    ),
)
"""Every metric; what is appended is inherited by docks, command line, documentation and tests."""

SCORES: tuple[Metric, ...] = tuple(
    metric for metric in METRICS if {"picture", "true_kernel"} & {*metric.needs}
)
"""Those that the field's tables have, of 8-bit pictures and kernels with a known truth."""
