"""
A micrograph, from file to figure
=================================

One fluorescence image: open it, estimate its blur, restore it, look at the result beside the
image, check it, and save it with its pixel size. No viewer is needed.
"""

# %%
# The image is a simulated one of 64 × 64 pixels of 260 nm, so that the truth is known. With a file
# of your own, begin at ``imread``.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import tifffile

from napari_blindsr import Optics, estimate_kernel, restore
from napari_blindsr.evaluation.samples import fluorescence
from napari_blindsr.physics.simulate import interpolate

sample = fluorescence()
folder = Path(mkdtemp())
tifffile.imwrite(
    folder / "cells.ome.tif",
    sample.image,
    metadata={"axes": "YX", "PhysicalSizeX": 0.26, "PhysicalSizeY": 0.26},
)

# %%
# Open the file. Any array will do: of files that ``tifffile`` does not read, too.

image = tifffile.imread(folder / "cells.ome.tif")
print(image.shape, image.dtype)

# %%
# Estimate the blur alone, with its interval. Standard deviations come in pixels of the
# result; the full width at half maximum is 2.35 times as wide, here in pixels of the image.

blur = estimate_kernel(image, scale=4)
for width, (least, most) in zip(blur.widths, blur.intervals, strict=True):
    fwhm = np.array([width, least, most]) * np.sqrt(8 * np.log(2)) / 4
    print("FWHM {:.1f} px (90 %: {:.1f} to {:.1f})".format(*fwhm))

# %%
# Restore it, four times finer. What is known of the optics narrows the estimate.

optics = Optics(numerical_aperture=0.5, emission_nm=520, pixel_size_nm=260)
result = restore(image, scale=4, optics=optics)

# %%
# Read what the run says of itself: flags are reasons to be careful.

print(f"{result.seconds:.1f} s on {result.device}, noise {result.noise:.3g}")
for flag in result.flags:
    print("caution:", flag.message)

# %%
# The image, the result and the truth, in one range of intensities.

low, high = sample.truth.min(), np.quantile(sample.truth, 0.999)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, picture, title in zip(
    axes, (image, result.image, sample.truth), ("image", "restored ×4", "truth"), strict=True
):
    axis.imshow(picture, cmap="gray", vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()

# %%
# A profile through both, and through cubic interpolation. Positions are in pixels of the result.

row = 130
plt.figure(figsize=(9, 2.6), layout="constrained")
for label, picture in (
    ("truth", sample.truth),
    ("cubic interpolation", interpolate(image, 4)),
    ("restored", result.image),
):
    plt.plot(picture[row], label=label)
plt.xlabel("column (px)")
plt.ylabel("intensity")
plt.legend()

# %%
# How near to the truth: errors over those of interpolation.


def decibels(picture: np.ndarray) -> float:
    """Return by how much a picture is nearer to the truth than interpolation is."""
    before, after = (
        np.square(x - sample.truth)[8:-8, 8:-8].mean() for x in (interpolate(image, 4), picture)
    )
    return float(10 * np.log10(before / after))


print(f"{decibels(result.image):+.2f} dB over cubic interpolation")

# %%
# The point spread function that was used.

plt.figure(figsize=(2.6, 2.6), layout="constrained")
plt.imshow(result.kernel[::-1, ::-1], cmap="inferno")
plt.title("PSF (px of the result)")

# %%
# Save the result: a quarter of the pixel size goes into the file.

size = {"PhysicalSizeX": 0.26 / 4, "PhysicalSizeY": 0.26 / 4}
tifffile.imwrite(folder / "restored.ome.tif", result.image, metadata={"axes": "YX", **size})
print(sorted(path.name for path in folder.iterdir()))
