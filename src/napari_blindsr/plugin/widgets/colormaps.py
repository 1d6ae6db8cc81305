"""Colormaps that napari does not have."""

from __future__ import annotations

from napari.utils import Colormap

# Two hues that the colour-blind tell apart, as in ColorBrewer's RdBu; zero is white.
DIVERGING = Colormap(
    [
        [0.02, 0.19, 0.38, 1],
        [0.13, 0.40, 0.67, 1],
        [0.57, 0.77, 0.87, 1],
        [1.0, 1.0, 1.0, 1],
        [0.96, 0.65, 0.51, 1],
        [0.70, 0.09, 0.17, 1],
        [0.40, 0.0, 0.12, 1],
    ],
    name="blue-white-red",
    nan_color=[0, 0, 0, 0],
)
