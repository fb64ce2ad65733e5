"""Comparison of a graph's embeddings and scores with the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.graph.description import Description
from tf_exporter.graph.signatures import sparse_name
from tf_exporter.layers.sparse import UNUSED_INDEX
from tf_exporter.model.untyped import Signatures
from tf_exporter.names import (
    ALL,
    ATTENTION,
    IDS,
    INDICES,
    MULTI_VECTOR,
    SPARSE_ENCODER,
    VECTOR_IDS,
    VECTOR_MASK,
    VECTORS,
    WEIGHTS,
)
from tf_exporter.verification.costs import Cost
from tf_exporter.verification.plans import BATCH, Plan, count, is_long, mixed
from tf_exporter.verification.reference import Answer, Arrays, Job
from tf_exporter.verification.sample_texts import decoded
from tf_exporter.verification.tolerances import Tolerance, allowed


class Difference(NamedTuple):
    """The difference between results of the graph and of the reference."""

    absolute: float = 0.0
    """The largest absolute difference."""
    cosine: float = 1.0
    """The smallest cosine between two rows."""

    def or_worse(self, other: Difference) -> Difference:
        """The larger absolute difference and the smaller cosine of the two."""
        return Difference(max(self.absolute, other.absolute), min(self.cosine, other.cosine))


@dataclass(frozen=True)
class Compared:
    """The result of a comparison of texts."""

    rows: int
    difference: Difference
    left_out: dict[str, str]
    """See `Verification.left_out`."""


def check_outputs(
    loaded: Signatures,
    model: Description,
    planned: Plan,
    answers: Sequence[Answer],
    texts: Sequence[bytes],
    tolerance: Tolerance,
    cost: Cost | None,
) -> Compared:
    """Compares the embeddings or scores of the texts of a plan.

    Args:
        loaded: the signatures of the SavedModel.
        model: the model that was saved.
        planned: the signatures and their texts.
        answers: the reference's answers, in the order of the plan.
        texts: all texts as bytes, some of them invalid UTF-8.
        tolerance: the differences that are allowed.
        cost: the cost of the largest Transformer; None if the length of a text costs little.

    Raises:
        VerificationError: the first difference that is too large, or the reference encodes less
            than half of the texts of a signature.
    """
    worst, rows_compared = Difference(), 0
    left_out: dict[str, str] = {}
    raw = {decoded(text): text for text in texts}
    for (name, job), (arrays, failed) in zip(planned.jobs, answers):
        if name == ALL:
            continue  # see `check_hybrid`
        _check_number(name, len(job.texts), failed)
        left_out.update({shortened(job.texts[row], 60): reason for row, reason in failed.items()})
        rows = [row for row in range(len(job.texts)) if row not in failed]
        actual = _compute(loaded, name, model, job, rows, cost, raw)
        compared = [job.texts[row] for row in rows]
        if job.tokens or model.kind == MULTI_VECTOR:
            difference = compare_vectors(name, actual, arrays, tolerance, compared)
        else:
            [values] = actual
            difference = compare(name, values, arrays["values"], tolerance, compared)
        worst = worst.or_worse(difference)
        rows_compared += len(rows)
    return Compared(rows_compared, worst, left_out)


def _check_number(name: str, texts: int, failed: dict[int, str]) -> None:
    """Refuses a comparison of the few texts that are left."""
    if 2 * len(failed) > texts:
        reason = failed[min(failed)]
        raise VerificationError(
            f"{name}: the reference cannot encode {len(failed)} of {texts} texts: {reason}"
        )


def _compute(
    loaded: Signatures,
    name: str,
    model: Description,
    job: Job,
    rows: list[int],
    cost: Cost | None,
    raw: dict[str, bytes],
) -> list[np.ndarray]:
    """The embeddings, float32 [rows, dim], or scores of some texts of a job, by the saved graph.

    Those of a multi-vector model are the vectors of all texts, the numbers of vectors, and ids.

    The sparse signature of a sparse encoder has to agree with them. `raw`: decoded text → its
    bytes, which may be invalid UTF-8.
    """
    alone = job.batch_size == 1 and not model.leaking
    tokens = [0] * len(job.texts) if cost is None else count(model, job.texts, job.pairs)
    batches = mixed(
        rows,
        [is_long(number, cost) for number in tokens],
        model.batch_size or (1 if alone else BATCH),
    )
    sides = dict(zip(model.inputs, [job.texts] if job.pairs is None else [job.texts, job.pairs]))
    results: list[list[np.ndarray]] = []
    for batch in batches:
        # If the batch size is fixed, the last batch is filled up with any text.
        filling = [b"a"] * ((model.batch_size or 0) - len(batch))
        inputs = {
            key: tf.constant(
                [*(raw.get(texts[row]) or texts[row].encode() for row in batch), *filling]
            )
            for key, texts in sides.items()
        }
        if name == IDS:
            tokens = loaded["tokenize"](**inputs)
            inputs = {key: tokens[key] for key in (VECTOR_IDS, ATTENTION)}
        outputs = loaded[name](**inputs)
        if job.tokens or model.kind == MULTI_VECTOR:
            results.append(flat_vectors(outputs))
            continue
        result = outputs[model.output].numpy()
        if model.kind == SPARSE_ENCODER:
            _check_sparse(loaded[sparse_name(name)](**inputs), result, name)
        results.append([result[: len(batch)]])
    return [np.concatenate(parts) for parts in zip(*results)]


def compare_vectors(
    name: str,
    actual: Sequence[np.ndarray],
    expected: Arrays,
    tolerance: Tolerance,
    texts: Sequence[str],
) -> Difference:
    """The largest differences between vectors of texts; see `compare`.

    Args:
        name: the name of the signature, for the error.
        actual: the result of `flat_vectors`.
        expected: the arrays of the reference's answer.
        tolerance: the difference that is allowed.
        texts: the texts.

    Raises:
        VerificationError: a text has another number of vectors or other tokens, or a vector
            differs by more.
    """
    vectors, counts, ids = actual
    ends = np.cumsum(counts)
    for row, (ours, theirs) in enumerate(zip(counts, expected["counts"])):
        part = slice(ends[row] - ours, ends[row])
        # Until the first other number, both have their vectors at the same places.
        if ours != theirs or (ids[part] != expected["ids"][part]).any():
            raise VerificationError(
                f"{name}: the vectors of {shortened(texts[row], 60)} are those of the tokens "
                f"{shortened(ids[part].tolist())}, not "
                f"{shortened(expected['ids'][ends[row] - ours :][:theirs].tolist())}"
            )
    repeated = [text for text, count in zip(texts, counts) for _ in range(count)]
    return compare(name, vectors, expected["values"], tolerance, repeated)


def flat_vectors(outputs: dict[str, tf.Tensor]) -> list[np.ndarray]:
    """The vectors of all texts [vectors, dim], the number of each text's, and their ids."""
    vectors, mask, ids = (outputs[key].numpy() for key in (VECTORS, VECTOR_MASK, VECTOR_IDS))
    return [vectors[mask > 0], mask.sum(1), ids[mask > 0]]


def _check_sparse(sparse: dict[str, tf.Tensor], dense: np.ndarray, name: str) -> None:
    """Refuses indices and weights that do not match the embeddings."""
    indices, weights = sparse[INDICES].numpy(), sparse[WEIGHTS].numpy()
    # UNUSED_INDEX, which fills up rows, stands for an extra last column.
    rows = np.zeros((len(dense), dense.shape[1] - UNUSED_INDEX), np.float32)
    np.put_along_axis(rows, indices.astype(np.int64), weights, axis=1)
    if not np.array_equal(rows[:, : dense.shape[1]], dense):
        raise VerificationError(f"{sparse_name(name)}: indices and weights are not those of {name}")


def compare(
    name: str,
    actual: np.ndarray,
    expected: np.ndarray,
    tolerance: Tolerance,
    texts: Sequence[str] | None = None,
) -> Difference:
    """The largest differences between two arrays of rows [..., dim], or of scores [rows].

    Args:
        name: the name of the signature or the output, for the error.
        actual: the results of the graph.
        expected: the results of the reference.
        tolerance: the difference that is allowed; more for values above 1 (`tolerances.allowed`).
        texts: the text of each row, for the error.

    Raises:
        VerificationError: the shapes differ, or a row differs by more or is not a number.
    """
    if actual.shape != expected.shape:
        raise VerificationError(f"{name}: shape {list(actual.shape)}, not {list(expected.shape)}")
    width = actual.shape[-1] if actual.ndim > 1 else 1
    actual, expected = actual.reshape(-1, width), expected.reshape(-1, width)
    # A maximum over the words of a text without words is −∞, in the reference and in the graph.
    infinite = np.isinf(expected) & (actual == expected)
    actual, expected = (
        np.where(infinite, 0, actual).astype(np.float64),
        np.where(infinite, 0, expected),
    )
    with np.errstate(invalid="ignore"):
        difference = np.abs(actual - expected).max(axis=1, initial=0.0)
        cosine = (
            np.ones(len(actual))
            if tolerance.cosine is None
            else _cosines(actual, expected, difference)
        )
    most = allowed(tolerance.difference, expected)
    fine = (difference <= most) & (cosine >= (tolerance.cosine or 0.0))
    if not fine.all():
        row = int(fine.argmin())
        message = f"{name}: the output"
        if texts is not None:
            message += f" of {shortened(texts[row], 60)}"
        message += f" differs from the reference by {difference[row]:.2e} (allowed {most[row]:.1e})"
        if tolerance.cosine is not None:
            message += f", cosine {cosine[row]:.6f} (allowed {tolerance.cosine})"
        raise VerificationError(message)
    return Difference(float(difference.max(initial=0.0)), float(cosine.min(initial=1.0)))


def _cosines(actual: np.ndarray, expected: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """The cosine for each row, float64 [rows]: 1 for two zero vectors, 0 for only one."""
    lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected.astype(np.float64), axis=1)
    products = (actual * expected).sum(axis=1)
    cosines: np.ndarray = np.where(
        lengths > 0, products / np.where(lengths > 0, lengths, 1.0), difference == 0
    )
    return cosines
