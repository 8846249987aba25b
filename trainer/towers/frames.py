"""Which frames of a video are embedded."""

from __future__ import annotations

import numpy as np


def uniform_frames(available: int, wanted: int) -> np.ndarray:
    """Returns int64 [wanted] positions of frames, in order: the middle of each of `wanted` spans.

    A clip with fewer frames is repeated as a whole, then cut (big_vision's `replicate`). CoCa takes
    16 frames.
    """
    if available < 1 or wanted < 1:
        raise ValueError(f"cannot take {wanted} frames of {available}; both must be positive")
    if available < wanted:
        return np.resize(np.arange(available), wanted)
    return (2 * np.arange(wanted) + 1) * available // (2 * wanted)
