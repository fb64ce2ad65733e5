"""Comparison of bge-m3's heads with FlagEmbedding's arithmetic on the reference's token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.layers.sparse import UNUSED_INDEX
from tf_exporter.model.source import ModelSource
from tf_exporter.model.untyped import Signatures, TransformersTokenizer
from tf_exporter.model.weights import read_weights
from tf_exporter.modules.hybrid import SPARSE_FILE, VECTOR_FILE
from tf_exporter.names import ALL, DEFAULT, INDICES, INPUT, OUTPUT, VECTORS, WEIGHTS
from tf_exporter.verification.outputs import Difference, compare, compare_vectors, flat_vectors
from tf_exporter.verification.plans import BATCH, Plan
from tf_exporter.verification.reference import Answer, Arrays
from tf_exporter.verification.tolerances import Tolerance


class _Linear(NamedTuple):
    matrix: np.ndarray
    bias: np.ndarray

    def __call__(self, states: np.ndarray) -> np.ndarray:
        result: np.ndarray = states @ self.matrix.T + self.bias
        return result


class Heads:
    """The heads of a model, in numpy."""

    def __init__(self, source: ModelSource, tokenizer: TransformersTokenizer):
        files = (read_weights(source, name) for name in (SPARSE_FILE, VECTOR_FILE))
        self._sparse, self._vectors = (
            _Linear(file.take_floats("weight"), file.take_floats("bias")) for file in files
        )
        self._special = {
            tokenizer.cls_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            tokenizer.unk_token_id,
        }

    def weights(self, states: np.ndarray, ids: np.ndarray) -> dict[int, float]:
        """The largest weight of each id. `states`: float32 [tokens, width]."""
        largest: dict[int, float] = {}
        for id, weight in zip(ids.tolist(), self._sparse(states)[:, 0].tolist()):
            if id not in self._special and weight > largest.get(id, 0.0):
                largest[id] = weight
        return largest

    def vectors(self, states: np.ndarray) -> np.ndarray:
        """The vectors of all tokens but the first: float32 [tokens − 1, dim]."""
        vectors = self._vectors(states[1:])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def check_hybrid(
    loaded: Signatures,
    names: Sequence[str],
    planned: Plan,
    answers: Sequence[Answer],
    heads: Heads,
    tolerance: Tolerance,
) -> Difference:
    """The largest differences of the heads' signatures.

    Args:
        loaded: the signatures of the SavedModel.
        names: those of the heads.
        planned: the texts that the reference has encoded.
        answers: its answers, with the vectors of all tokens before the pooling.
        heads: the heads.
        tolerance: the difference that is allowed.

    Raises:
        VerificationError: a result differs by more, or belongs to other tokens.
    """
    place = [name for name, _ in planned.jobs].index(ALL)
    (_, job), (arrays, failed) = planned.jobs[place], answers[place]
    texts = [text for row, text in enumerate(job.texts) if row not in failed]
    ends = np.cumsum(arrays["counts"])[:-1]
    states, ids = (np.split(arrays[key], ends) for key in ("values", "ids"))
    worst = Difference()
    for start in range(0, len(texts), BATCH):
        rows = slice(start, start + BATCH)
        inputs = {INPUT: tf.constant(texts[rows])}
        embeddings = loaded[DEFAULT](**inputs)[OUTPUT].numpy()
        for name in names:
            outputs = loaded[name](**inputs)
            if OUTPUT in outputs:
                compare(name, outputs[OUTPUT].numpy(), embeddings, tolerance, texts[rows])
            if VECTORS in outputs:
                expected = _vectors(heads, states[rows], ids[rows])
                difference = compare_vectors(
                    name, flat_vectors(outputs), expected, tolerance, texts[rows]
                )
                worst = worst.or_worse(difference)
            if INDICES in outputs:
                sparse = [heads.weights(*pair) for pair in zip(states[rows], ids[rows])]
                worst = worst.or_worse(_sparse(name, outputs, sparse, tolerance, texts[rows]))
    return worst


def _vectors(heads: Heads, states: list[np.ndarray], ids: list[np.ndarray]) -> Arrays:
    return {
        "values": np.concatenate([heads.vectors(own) for own in states]),
        "counts": np.array([len(own) - 1 for own in ids]),
        "ids": np.concatenate([own[1:] for own in ids]),
    }


def _sparse(
    name: str,
    outputs: dict[str, tf.Tensor],
    expected: list[dict[int, float]],
    tolerance: Tolerance,
    texts: Sequence[str],
) -> Difference:
    worst = Difference()
    indices, weights = outputs[INDICES].numpy(), outputs[WEIGHTS].numpy()
    for row, (text, theirs) in enumerate(zip(texts, expected, strict=True)):
        used = indices[row] != UNUSED_INDEX
        ours = dict(zip(indices[row][used].tolist(), weights[row][used].tolist()))
        falling = (np.diff(weights[row]) <= 0).all() and not weights[row][~used].any()
        if len(ours) != used.sum() or not falling:
            raise VerificationError(
                f"{name}: the indices of {shortened(text, 60)} are not all different, or their "
                "weights do not fall"
            )
        if ids := sorted({*ours, *theirs}):
            actual, wanted = (
                np.array([[own.get(id, 0.0) for id in ids]], np.float32) for own in (ours, theirs)
            )
            worst = worst.or_worse(compare(name, actual, wanted, tolerance, [text]))
    return worst
