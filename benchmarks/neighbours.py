"""What planes gain from their neighbours: warm starts, and filtered blur estimates.

    python benchmarks/neighbours.py [warm] [filtered] [--frames 3] [--side 36] [--steps 300]
        [--width 32] [--noise 0] [--scenes 6]

Simulated cells drift by about two pixels of the result a frame, and are blurred by Gaussians that
change with time. ``warm``: MLMC from scratch with all steps and with a third of them, and warm
starts; PSNR and relative error of the kernel, means without the first frame. With noise, DDSR.
``filtered``: root mean square error of the logarithm of the estimated covariance, plane by plane
and with neighbours, for walks of several sizes.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import shift

from napari_blindsr import Settings, StackOptions, StackResult, estimate_kernel, restore_stack
from napari_blindsr.estimation.smoothing import DRIFT, smoothed
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.methods import CONTINUED, Schedule
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.kernels.moments import covariance_of, principal_axes
from napari_blindsr.physics.observation import Observation, kernel_center

SCALE = 2
SIZE = 25
WALKS = (0.0, 0.02, 0.06, 0.15, 0.3)
"""Standard deviations of the steps of the logarithm of the covariance."""


def scene(
    side: int, frames: int, *, seed: int, speed: tuple[float, float]
) -> list[NDArray[np.float64]]:
    """Return canvases of cells that drift, large enough for the kernel's reach."""
    margin = math.ceil(frames * max(map(abs, speed))) + 4
    inner = SCALE * side + SIZE - 1
    cells = fluorescent_cells((inner + 2 * margin,) * 2, seed=seed)
    cells = cells / np.percentile(cells, 99.9)
    cut = slice(margin, margin + inner)
    moved = [shift(cells, (t * speed[0], t * speed[1]), order=1) for t in range(frames)]
    return [image[cut, cut] for image in moved]


def blurred(canvas: NDArray[np.float64], kernel: torch.Tensor) -> NDArray[np.float32]:
    """Return what is measured of a canvas, without noise."""
    side = (len(canvas) - SIZE + 1) // SCALE
    observation = Observation(data=torch.zeros(1, side, side), scale=SCALE, kernel_size=SIZE)
    image = torch.from_numpy(canvas.copy()).float()[None]
    return np.asarray(observation.predict(image, kernel[None].float())[0, 0])


def gaussian(logarithm: NDArray[np.float64]) -> torch.Tensor:
    """Return the kernel whose covariance in LR px² has a logarithm (3,)."""
    variances, angle = principal_axes(SCALE**2 * covariance_of(torch.from_numpy(logarithm)))
    center = kernel_center(SIZE, SCALE, "camera")
    return render_gaussian(variances[None], angle[None], size=SIZE, center=center)[0]


def warm(side: int, frames: int, *, steps: int, width: int, noise: float) -> None:
    """Print the quality of cold and of warm starts."""
    rng = np.random.default_rng(0)
    canvases = scene(side, frames, seed=1, speed=(0.9, 1.7))
    walk = [np.array([-0.9 + 0.08 * t, -1.0 + 0.07 * t, 0.1]) for t in range(frames)]
    kernels = [gaussian(logarithm) for logarithm in walk]
    data = np.stack([blurred(c, k) for c, k in zip(canvases, kernels, strict=True)])
    data += np.float32(noise) * rng.standard_normal(data.shape, dtype=np.float32)
    schedule = Schedule(channels=width).scaled(steps)
    settings = Settings(
        scale=SCALE,
        method="ddsr" if noise else "mlmc",
        noise="auto" if noise else 0.0,
        schedule=schedule,
        threads=1,
    )
    few = round(CONTINUED * steps)
    short = Settings(
        scale=SCALE,
        method=settings.method,
        noise=settings.noise,
        schedule=schedule.scaled(few),
        threads=1,
    )
    for name, used, option in (
        (f"cold, {steps} steps", settings, False),
        (f"cold, {few} steps", short, False),
        (f"warm, {few} steps", settings, True),
    ):
        start = time.perf_counter()
        options = StackOptions(kernels="plane", warm_start=option)
        result = restore_stack(data, used, axes="TYX", options=options)
        psnr, error = scores(result, canvases, kernels)
        print(
            f"{settings.method}, noise {noise}, {name}: {psnr:.2f} dB, kernel {error:.3f}, "
            f"{time.perf_counter() - start:.0f} s for all frames",
            flush=True,
        )


def scores(
    result: StackResult, canvases: list[NDArray[np.float64]], kernels: list[torch.Tensor]
) -> tuple[float, float]:
    """Return PSNR, 4 px from the borders, and e_k: means of all frames but the first."""
    inner = slice(SIZE // 2, -(SIZE // 2))
    found, errors = [], []
    for image, canvas in zip(result.image[1:], canvases[1:], strict=True):
        truth = canvas[inner, inner]
        square = np.mean((image - truth)[4:-4, 4:-4] ** 2)
        found.append(10 * math.log10(truth.max() ** 2 / square))
    for entry, kernel in zip(result.kernels[1:], kernels[1:], strict=True):
        own = np.pad(entry.kernel, max(0, SIZE - len(entry.kernel)) // 2)
        beyond = (len(own) - SIZE) // 2
        own = own[beyond : beyond + SIZE, beyond : beyond + SIZE]
        errors.append(float(np.linalg.norm(own - kernel.numpy()) / np.linalg.norm(kernel)))
    return float(np.mean(found)), float(np.mean(errors))


def filtered(side: int, frames: int, scenes: int) -> None:
    """Print how far estimates are off, with and without their neighbours."""
    for walk in WALKS:
        alone: list[float] = []
        together: list[float] = []
        for number in range(scenes):
            rng = np.random.default_rng([number, round(1000 * walk)])
            logarithm = np.array([*rng.uniform(-1, 0.8, 2), rng.uniform(-0.4, 0.4)])
            photons = rng.choice([60, 400])
            speed = tuple(rng.uniform(-2, 2, 2))
            truths, posteriors = [], []
            for canvas in scene(side, frames, seed=number, speed=speed):
                logarithm = logarithm + walk * rng.standard_normal(3)
                light = blurred(canvas, gaussian(logarithm)).clip(0)
                counts = rng.poisson(light * photons + 10) + rng.normal(0, 2, light.shape)
                posterior = estimate_kernel(counts.astype(np.float32), scale=SCALE).posterior
                assert posterior is not None
                posteriors.append(posterior)
                truths.append(logarithm)
            smooth = smoothed(posteriors, steps=[1] * (frames - 1))
            for errors, found in ((alone, posteriors), (together, smooth)):
                means = torch.stack([entry.mean for entry in found]).double().numpy()
                errors.append(np.mean((means - truths) ** 2))
        before, after = math.sqrt(np.mean(alone)), math.sqrt(np.mean(together))
        print(
            f"steps of {walk}: each by itself {before:.3f}, with its neighbours {after:.3f} "
            f"(drift {DRIFT}), {scenes} scenes of {frames} frames of {side}²",
            flush=True,
        )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["warm", "filtered"])
    parser.add_argument("--frames", type=int)
    parser.add_argument("--side", type=int)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--scenes", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "warm" in options.what:
        warm(
            options.side or 36,
            options.frames or 3,
            steps=options.steps,
            width=options.width,
            noise=options.noise,
        )
    if "filtered" in options.what:
        filtered(options.side or 64, options.frames or 10, options.scenes)


if __name__ == "__main__":
    main()
