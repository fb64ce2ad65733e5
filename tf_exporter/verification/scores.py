"""Comparison of a multi-vector model's scores with those of the reference's vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_exporter.model.untyped import Signatures
from tf_exporter.names import DOCUMENT, QUERY, SCORE, SCORES
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.plans import Plan
from tf_exporter.verification.reference import Answer, Arrays
from tf_exporter.verification.tolerances import Tolerance

_TEXTS = 12
"""The number of queries and of documents."""
_EMPTY_DOCUMENT = -1e9
"""The reference's score of a document without a vector."""


def check_scores(
    loaded: Signatures,
    planned: Plan,
    answers: Sequence[Answer],
    mean: bool,
    tolerance: Tolerance,
) -> None:
    """Compares the scores of one query with many documents, and of pairs.

    Args:
        loaded: the signatures of the SavedModel.
        planned: the texts that the reference has encoded.
        answers: its answers.
        mean: whether the sum over a query's vectors is divided by their number.
        tolerance: the difference that is allowed for each vector of a query.

    Raises:
        VerificationError: a score differs by more.
    """
    sides = {}
    for (name, job), answer in zip(planned.jobs, answers):
        if name in (f"encode_{QUERY}", f"encode_{DOCUMENT}"):
            rows = [row for row in range(len(job.texts)) if row not in answer.failed][:_TEXTS]
            texts = [job.texts[row] for row in rows]
            sides[name] = texts, _split(answer.arrays)[: len(rows)]
    (queries, ours), (documents, theirs) = (sides[f"encode_{task}"] for task in (QUERY, DOCUMENT))
    count = min(len(queries), len(documents))
    for asked in ([0] * count, [*range(count)]):
        expected = np.array(
            [max_sim(ours[query], theirs[row], mean) for row, query in enumerate(asked)], np.float32
        )
        texts = queries[:1] if not any(asked) else queries[:count]
        result = loaded[SCORE](
            **{QUERY: tf.constant(texts), DOCUMENT: tf.constant(documents[:count])}
        )
        compare(SCORE, result[SCORES].numpy(), expected, tolerance)


def _split(arrays: Arrays) -> list[np.ndarray]:
    """The vectors of each text."""
    return np.split(arrays["values"], np.cumsum(arrays["counts"])[:-1])


def max_sim(query: np.ndarray, document: np.ndarray, mean: bool) -> float:
    """The score of a document: the sum of the largest products of a query's vectors.

    `query`, `document`: float32 [vectors, dim].
    """
    score = float((query @ document.T).max(1).sum()) if len(document) else _EMPTY_DOCUMENT
    return score / max(len(query), 1) if mean else score
