"""How much faster one image step is than the same step written the plain way.

    python benchmarks/step.py [--size 252] [--outer 3] [--threads 2] [--device auto]

The plain step evaluates everything in float32 on contiguous tensors, draws one random kernel at
a time, repeats the generator's forward pass wherever an image is needed, and forms the non-local
blocks' full matrix. Both are timed in turn, outer iteration by outer iteration, in one process;
an outer iteration is one Monte-Carlo step and five image steps with their meta steps.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_blindsr.methods import Schedule
from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.physics.observation import Observation
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from napari_blindsr.solvers.blind.generators import (
    _NonLocal,
    build_image_generator,
    build_kernel_generator,
)
from napari_blindsr.solvers.blind.losses import (
    StructuralSimilarity,
    gradient_prior,
    monte_carlo_weights,
)
from napari_blindsr.solvers.device import choose_compute

SCALE, KERNEL_SIZE = 4, 19
INNER_STEPS = 5


def plain_non_local(block: _NonLocal, x: Tensor) -> Tensor:
    """Evaluate the block by its matrix of all pairs."""
    theta = block.theta(x).flatten(2).transpose(1, 2)
    phi = F.max_pool2d(block.phi(x), 2).flatten(2)
    g = F.max_pool2d(block.g(x), 2).flatten(2).transpose(1, 2)
    y = (theta @ phi / phi.shape[2]) @ g
    y = y.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
    result: Tensor = x + block.norm(block.out(y))
    return result


class PlainStep:
    """The alternating optimisation, one line of the specification after the other."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        device = observation.data.device
        generator = torch.Generator().manual_seed(0)
        channels = observation.canvas_shape[0]
        self.image_network = build_image_generator(
            channels, width=128, bounded=True, generator=generator
        ).to(device)
        for part in self.image_network.modules():
            if isinstance(part, _NonLocal):
                # A bound method in the place of the module's own.
                part.forward = plain_non_local.__get__(part)  # type: ignore[method-assign]
        self.kernel_network = build_kernel_generator(KERNEL_SIZE, generator=generator).to(device)
        self.noise = 0.1 * torch.rand(1, *observation.canvas_shape, generator=generator).to(device)
        self.code = 0.1 * torch.rand(200, generator=generator).to(device)
        self.image_adam = torch.optim.Adam(self.image_network.parameters(), lr=5e-3)
        self.kernel_adam = torch.optim.Adam(self.kernel_network.parameters(), lr=1e-4)
        self.rng = np.random.default_rng(0)
        self.steps = 0
        self.meta_loss: Tensor | None = None

    def draw_kernel(self) -> Tensor:
        low, high = Gaussian().variance_range(SCALE)
        variances = self.rng.uniform(low, high, 2)
        angle = self.rng.uniform(0, math.pi)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        inverse = np.linalg.inv(rotation @ np.diag(variances) @ rotation.T)
        axis = np.arange(KERNEL_SIZE) - self.observation.center
        points = np.stack(np.meshgrid(axis, axis), axis=-1)[..., None]
        exponent = (points.swapaxes(-1, -2) @ inverse @ points)[..., 0, 0]
        kernel = np.exp(-0.5 * exponent)
        array = (kernel / kernel.sum()).astype(np.float32)
        return torch.from_numpy(array).to(self.observation.data.device)

    def kernel(self) -> Tensor:
        result: Tensor = self.kernel_network(self.code)
        return result

    def predict(self, image: Tensor, kernel: Tensor) -> Tensor:
        return self.observation.predict(image, kernel[None])[0]

    def monte_carlo_step(self) -> None:
        image = self.image_network(self.noise)[0].detach()
        kernels, losses = [], []
        for _ in range(5):
            kernels.append(self.draw_kernel())
            error = self.predict(image, kernels[-1]) - self.observation.data
            losses.append(error.square().mean())
        weights = monte_carlo_weights(torch.stack(losses)).tolist()
        loss = torch.zeros((), device=image.device)
        for weight, kernel in zip(weights, kernels, strict=True):
            loss = loss + weight * F.mse_loss(self.kernel(), kernel)
        self.kernel_adam.zero_grad()
        loss.backward()
        self.kernel_adam.step()

    def data_term(self, prediction: Tensor) -> Tensor:
        return 1 - StructuralSimilarity(self.observation.data)(prediction)

    def image_step(self) -> None:
        image = self.image_network(self.noise)[0]
        loss = self.data_term(self.predict(image, self.kernel().detach()))
        loss = loss + 2e-4 / self.observation.data.numel() * gradient_prior(image)
        self.image_adam.zero_grad()
        loss.backward()
        meta = self.data_term(self.predict(image.detach(), self.kernel()))
        self.image_adam.step()
        self.meta_loss = meta if self.meta_loss is None else self.meta_loss + meta
        self.steps += 1
        if self.steps % 3 == 0:
            self.kernel_adam.zero_grad()
            self.meta_loss.backward()
            self.kernel_adam.step()
            self.meta_loss = None
        loss.item()

    def outer(self) -> None:
        self.meta_loss = None
        self.monte_carlo_step()
        for _ in range(INNER_STEPS):
            self.image_step()


def our_outer(observation: Observation, precision: str, device: str) -> Callable[[], None]:
    solver = AlternatingSolver(
        schedule=Schedule(warmup_steps=0),
        bounded=True,
        kernel=Gaussian(),
        seed=0,
        compute=choose_compute(device, precision),
    )
    state = solver.init(observation)

    def outer() -> None:
        for _ in range(INNER_STEPS):
            solver.step(state)

    return outer


def seconds(outer: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    outer()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / INNER_STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=252, help="side of the result in pixels")
    parser.add_argument("--outer", type=int, default=3, help="outer iterations timed of each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compute = choose_compute(options.device, "auto")
    side = options.size // SCALE
    data = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    observation = Observation(
        data=data.to(compute.device),
        scale=SCALE,
        kernel_size=KERNEL_SIZE,
        geometry="benchmark",
        border="circular",
    )
    candidates: dict[str, Callable[[], None]] = {"plain, float32": PlainStep(observation).outer}
    for precision in ("float32", "bfloat16"):
        name = f"ours, {precision}"
        candidates[name] = our_outer(observation, precision, options.device)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for candidate in candidates.values():
        seconds(candidate, compute.device)
    for _ in range(options.outer):
        for name, candidate in candidates.items():
            times[name].append(seconds(candidate, compute.device))
    chosen = str(compute.dtype).removeprefix("torch.")
    print(
        f"image step, {options.size}² result, {compute.device}, {options.threads} threads, "
        f"torch {torch.__version__}; chosen here: {chosen}"
    )
    plain = times["plain, float32"]
    for name, values in times.items():
        ratio = statistics.median(p / v for p, v in zip(plain, values, strict=True))
        print(f"{name:16} {statistics.median(values):7.3f} s a step   {ratio:5.2f}× the plain step")


if __name__ == "__main__":
    main()
