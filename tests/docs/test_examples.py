"""The Python examples of the pages for users run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_blindsr import restore
from napari_blindsr.evaluation import samples
from tests.docs.pages import blocks, run

PAGES = (
    "README.md",
    "getting_started.md",
    "tutorial_fluorescence.md",
    "tutorial_stack.md",
    "tutorial_psf.md",
    "results.md",
    "field.md",
    "files.md",
    "measure.md",
)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What readers are expected to have."""
    image = samples.fluorescence().image
    wide = np.concatenate([image, image[:, ::-1]], axis=1)
    large = np.concatenate([wide, wide[::-1]])[:96]
    return {
        "image": large,
        "stack": np.stack([image[None], image[None].T.reshape(1, 64, 64)]),
        "result": restore(large, scale=2),
        "np": np,
    }


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(
    page: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", names["image"][:32, :32])
    tifffile.imwrite("cells.ome.tif", names["stack"][:, 0], metadata={"axes": "TYX"})
    y, x = np.mgrid[-10:11, -10:11]
    bead = 100 + 1000 * np.exp(-(x**2 + y**2) / 1.3)
    tifffile.imwrite("bead.tif", bead.astype(np.uint16))
    used = dict(names)
    for code in blocks(page, "python"):
        # Those with a viewer have tests of their own.
        if "viewer" not in code:
            run(code, used)
