"""Any transform that a layer can have, for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

SIZES = st.floats(0.05, 20)
SHIFTS = st.floats(-1e3, 1e3)
SCALES = st.integers(1, 8)
SHAPES = st.tuples(st.integers(5, 30), st.integers(5, 30))


@st.composite
def transforms(draw: st.DrawFn) -> dict[str, Any]:
    """Draw any transform that a 2-D layer can have."""
    turn = draw(st.floats(-2, 2))
    affine = np.eye(3)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:2, :2] *= draw(st.floats(0.2, 5))
    affine[0, 1] += draw(st.floats(-0.1, 0.1))
    affine[:2, 2] = draw(SHIFTS), draw(SHIFTS)
    signs = draw(st.sampled_from([(1, 1), (-1, 1), (1, -1)]))
    return {
        "scale": (signs[0] * draw(SIZES), signs[1] * draw(SIZES)),
        "translate": (draw(SHIFTS), draw(SHIFTS)),
        "rotate": draw(st.floats(-180, 180)),
        "shear": [draw(st.floats(-1, 1))],
        "affine": affine,
    }
