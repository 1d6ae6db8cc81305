"""Evaluate a network by captured CUDA graphs, after comparing them with the plain evaluation.

A graph replays all the launches of a forward or backward pass at once, which take most of the
time for a small image on a fast GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_blindsr.solvers.device import Compute


TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Relative difference of outputs and gradients that rounding may cause."""


class _Autocast(nn.Module):
    """A network in its precision: a graph must not use casts that were cached outside of it."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        super().__init__()
        self.network = network
        self._options: dict[str, Any] = {
            "device_type": compute.device.type,
            "dtype": compute.dtype,
            "enabled": compute.dtype != torch.float32,
            "cache_enabled": False,
        }

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(**self._options):
            result: Tensor = self.network(x)
        return result


def captured(network: nn.Module, x: Tensor, compute: Compute) -> Callable[[Tensor], Tensor] | None:
    """Return a function that evaluates a network at inputs like `x` by graphs, or None.

    None on devices other than CUDA, if the capture fails, and if the graph gives another output or
    other gradients. The network is in training mode; its weights may change between calls.
    """
    if compute.device.type != "cuda":
        return None
    module = _Autocast(network, compute)
    expected = _evaluate(module, network, x)
    try:
        graphed: Any = torch.cuda.make_graphed_callables(module, (x,))
        found = _evaluate(graphed, network, x)
    except RuntimeError:
        # Run without graphs, which raises any other error again.
        torch.cuda.synchronize(compute.device)
        return None
    if not same(found, expected, TOLERANCE[compute.dtype]):
        return None

    def evaluate(inputs: Tensor) -> Tensor:
        # The next replay writes to the same memory.
        result: Tensor = graphed(inputs).clone()
        return result

    return evaluate


def _evaluate(function: Callable[[Tensor], Tensor], network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return output and gradients of a pass, and reset the gradients."""
    network.zero_grad(set_to_none=True)
    output = function(x)
    # Uneven weights, so that no gradient is zero by symmetry.
    weights = torch.linspace(0.5, 1.5, output.numel(), device=output.device).view_as(output)
    (weights * output).sum().backward()
    values = [output.detach().clone()]
    values += [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad(set_to_none=True)
    return values


def same(first: list[Tensor], second: list[Tensor], tolerance: float) -> bool:
    """Return whether tensors are equal, all together, up to a relative difference."""
    if len(first) != len(second) or any(
        a.shape != b.shape for a, b in zip(first, second, strict=True)
    ):
        return False
    pairs = [(first[:1], second[:1]), (first[1:], second[1:])]
    for ours, theirs in pairs:
        difference = sum((a - b).double().square().sum() for a, b in zip(ours, theirs, strict=True))
        size = sum((b.double().square().sum() for b in theirs), start=torch.zeros(()))
        # Comparisons with values that are not finite are false.
        if not bool(torch.as_tensor(difference) <= tolerance**2 * size):
            return False
    return True
