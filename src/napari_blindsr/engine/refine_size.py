"""How much of an image refinement looks at. Without torch, so that memory is soon estimated."""

from __future__ import annotations

RESTORED = 128
"""Side in HR pixels of what is looked at, which costs a restoration for each kernel."""

SMALLEST_CROP = 32
"""Side in LR pixels of what is looked at at least, in an image that is not smaller."""

TOGETHER = 4
"""Restorations at a time, which bounds the memory."""


def crop_side(scale: int) -> int:
    """Return the side in LR pixels of what is looked at."""
    return max(SMALLEST_CROP, RESTORED // scale)
