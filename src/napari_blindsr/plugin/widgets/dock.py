"""What all docks do alike."""

from __future__ import annotations

import traceback


def clear_frames(error: BaseException | None) -> None:
    """Let go of what an error's traceback, and those of its causes, hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
