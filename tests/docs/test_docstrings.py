"""The examples in docstrings run, and each function and setting that is public has one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import napari_blindsr
from tests.docs.pages import ROOT

PACKAGE = ROOT / "src"
# These are made by the package, not by its users.
HANDED_OUT = {"BlindSRError", "BlurEstimate", "KernelField", "Result", "StackResult"}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


@pytest.mark.parametrize("name", sorted(set(napari_blindsr.__all__) - HANDED_OUT))
def test_what_users_call_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(napari_blindsr, name).__doc__ or "")
