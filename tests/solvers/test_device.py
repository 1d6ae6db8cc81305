"""The fastest settings of a device, as far as this torch knows its CPU."""

from __future__ import annotations

import pytest
import torch

from napari_blindsr.solvers import device
from napari_blindsr.solvers.device import choose_compute

COMPUTES_BFLOAT16 = device._computes_bfloat16
"""As it is before the tests say what it shall be."""


def test_older_versions_of_torch_know_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(device, "_computes_bfloat16", COMPUTES_BFLOAT16)
    compute = choose_compute("cpu", "auto")
    assert compute.dtype == torch.float32
    assert compute.channels_last_gradients
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert choose_compute("cpu", "auto").dtype == torch.bfloat16
