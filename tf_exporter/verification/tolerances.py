"""Tolerances: the differences from the float32 reference that are allowed."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np

from tf_exporter.names import INT8_PRECISION, INT8_STORAGE

MIN_COSINE = 0.99999


class Tolerance(NamedTuple):
    """The differences that verification allows."""

    difference: float
    """The largest absolute difference of values up to 1; see `allowed`. ∞: only cosines count."""
    cosine: float | None = None
    """The smallest cosine between two rows. None: it does not count."""


_EMBEDDINGS = {
    "bfloat16": Tolerance(inf, 0.995),
    "float16": Tolerance(inf, 0.9999),
    INT8_PRECISION: Tolerance(inf, 0.98),
    INT8_STORAGE: Tolerance(inf, 0.99),
}
_SCORES = {
    "bfloat16": Tolerance(0.1),
    "float16": Tolerance(0.01),
    INT8_PRECISION: Tolerance(0.2),
    INT8_STORAGE: Tolerance(0.1),
}


def of_embeddings(precision: str, atol: float) -> Tolerance:
    """The tolerance of embeddings. `atol` applies to float32; other precisions have their own."""
    return _EMBEDDINGS.get(precision, Tolerance(atol, MIN_COSINE))


def of_scores(precision: str, atol: float) -> Tolerance:
    """The tolerance of scores and logits, by the same rule as `of_embeddings`."""
    return _SCORES.get(precision, Tolerance(atol))


def allowed(difference: float, expected: np.ndarray) -> np.ndarray:
    """The largest difference that each row of `expected` [..., dim] may have: float64 [...].

    It grows with the largest value of the row, if that is above 1, because float32 rounds larger
    values more coarsely. Infinities do not count: they have to be equal.
    """
    sizes = np.abs(np.where(np.isfinite(expected), expected, 0)).astype(np.float64)
    return np.asarray(difference * np.maximum(1.0, sizes.max(axis=-1, initial=0.0)))
