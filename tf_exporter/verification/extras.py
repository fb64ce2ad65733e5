"""Comparison of further signatures with what the reference's embeddings give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError
from tf_exporter.model.untyped import Signatures
from tf_exporter.names import (
    BINARY,
    BINARY_EMBEDDING,
    DEFAULT,
    DIMENSIONS,
    INPUT,
    INT8,
    INT8_EMBEDDING,
    OUTPUT,
    TRUNCATED,
)
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.reference import Answer, Job
from tf_exporter.verification.tolerances import Tolerance

_TEXTS = 32
_LAST_PART = 255
_COARSE = 1e-3
"""The difference that is allowed in a reduced precision, whose tolerance has none."""


def check_extras(
    loaded: Signatures,
    job: Job,
    answer: Answer,
    names: Sequence[str],
    tolerance: Tolerance,
    calibration: Sequence[str] | None,
) -> None:
    """Compares shortened, binary and int8 embeddings of some texts.

    Args:
        loaded: the signatures of the SavedModel.
        job: the texts that `serving_default` was compared for.
        answer: the reference's embeddings of these texts.
        names: the signatures of the SavedModel.
        tolerance: the difference that is allowed.
        calibration: the texts for the ranges of int8 embeddings.

    Raises:
        VerificationError: an embedding differs by more, or a bit that is not within it.
    """
    if not {TRUNCATED, BINARY, INT8} & {*names}:
        return
    rows = [row for row in range(len(job.texts)) if row not in answer.failed][:_TEXTS]
    texts, expected = tf.constant([job.texts[row] for row in rows]), answer.values[: len(rows)]
    dim = expected.shape[1]
    if TRUNCATED in names:
        for kept in sorted({1, dim // 2 or 1, dim}):
            result = loaded[TRUNCATED](**{INPUT: texts, DIMENSIONS: tf.constant(kept)})[OUTPUT]
            part = expected[:, :kept]
            norm = np.linalg.norm(part, axis=1, keepdims=True)
            # Compared before the division: a short part is divided by a small number.
            compare(TRUNCATED, result.numpy() * norm, part, tolerance)
    if BINARY in names:
        result = loaded[BINARY](**{INPUT: texts})[BINARY_EMBEDDING].numpy()
        bits = np.unpackbits(result, axis=1)[:, :dim]
        unsure = np.abs(expected) <= tolerance.difference
        padding = np.unpackbits(result, axis=1)[:, dim:]
        if result.shape != (len(rows), -(-dim // 8)) or padding.any():
            raise VerificationError(f"{BINARY}: shape {list(result.shape)}")
        if ((bits != (expected > 0)) & ~unsure).any():
            raise VerificationError(f"{BINARY}: a bit differs from the sign of the reference's")
    if INT8 in names:
        _check_int8(loaded, texts, calibration or (), tolerance)


def _check_int8(
    loaded: Signatures, texts: tf.Tensor, calibration: Sequence[str], tolerance: Tolerance
) -> None:
    """Refuses int8 embeddings that are not the parts of the ranges of the calibration's texts."""

    def encoded(own: tf.Tensor) -> np.ndarray:
        return np.asarray(loaded[DEFAULT](**{INPUT: own})[OUTPUT].numpy(), np.float64)

    batches = range(0, len(calibration), _TEXTS)
    embeddings = [encoded(tf.constant(calibration[at : at + _TEXTS])) for at in batches]
    least = np.min([part.min(0) for part in embeddings], axis=0)
    steps = (np.max([part.max(0) for part in embeddings], axis=0) - least) / _LAST_PART
    steps = np.where(steps == 0, 1, steps)
    place = (encoded(texts) - least) / steps
    part = loaded[INT8](**{INPUT: texts})[INT8_EMBEDDING].numpy() + 128.0
    # A value next to the limit of two parts may be in either.
    slack = min(tolerance.difference, _COARSE) / steps
    below = (place < part - slack) & (part > 0)
    if (below | ((place > part + 1 + slack) & (part < _LAST_PART))).any():
        raise VerificationError(f"{INT8}: a value is not the part of its range that it is in")
