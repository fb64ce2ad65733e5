"""How far an answer may be from the float32 reference's, for each `--precision`."""

from __future__ import annotations

from typing import NamedTuple

MIN_COSINE = 0.99999


class Limits(NamedTuple):
    """What verification allows."""

    difference: float
    """Of a component of an embedding with values up to 1 (see `tolerances.allowed`); ∞ where the cosine alone tells."""
    min_cosine: float
    """Between two embeddings."""
    score_difference: float
    """Of a score of up to 1, at most (see `tolerances.allowed`)."""


_REDUCED = {"bfloat16": Limits(float("inf"), 0.995, 0.1), "float16": Limits(float("inf"), 0.9999, 0.01)}
PRECISIONS = ("float32", *_REDUCED)


def limits(precision: str, atol: float) -> Limits:
    """`atol` is float32's; the other precisions have limits of their own."""
    return _REDUCED.get(precision, Limits(atol, MIN_COSINE, atol))
