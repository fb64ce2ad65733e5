"""How far a row of answers may be from the reference's: a limit that grows with the values, as float32's rounding does."""

from __future__ import annotations

import numpy as np


def allowed(limit: float, expected: np.ndarray) -> np.ndarray:
    """How far each row may be from the reference's: float64 [...], of `expected` [..., dim].

    The limit is that of values up to 1. Where the reference's row has a larger one, the limit grows with it, as the rounding of
    float32 does. Infinities do not count: they have to be equal.
    """
    sizes = np.abs(np.where(np.isfinite(expected), expected, 0)).astype(np.float64)
    return np.asarray(limit * np.maximum(1.0, sizes.max(axis=-1, initial=0.0)))
