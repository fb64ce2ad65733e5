"""Comparison of further signatures with what the reference's embeddings give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError
from tf_exporter.model.untyped import Signatures
from tf_exporter.names import BINARY, BINARY_EMBEDDING, DIMENSIONS, INPUT, OUTPUT, TRUNCATED
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.reference import Answer, Job
from tf_exporter.verification.tolerances import Tolerance

_TEXTS = 32


def check_extras(
    loaded: Signatures, job: Job, answer: Answer, names: Sequence[str], tolerance: Tolerance
) -> None:
    """Compares shortened and binary embeddings of some texts.

    Args:
        loaded: the signatures of the SavedModel.
        job: the texts that `serving_default` was compared for.
        answer: the reference's embeddings of these texts.
        names: the signatures of the SavedModel.
        tolerance: the difference that is allowed.

    Raises:
        VerificationError: an embedding differs by more, or a bit that is not within it.
    """
    if not {TRUNCATED, BINARY} & {*names}:
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
