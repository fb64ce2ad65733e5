"""Proof that a saved graph answers as the reference does: token ids first, then embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.costs import Cost
from tf_exporter.description import Description
from tf_exporter.errors import VerificationError, shortened
from tf_exporter.graph import INDICES, INPUT, OUTPUT, PAIR, WEIGHTS
from tf_exporter.limits import Limits
from tf_exporter.plans import BATCH, count, is_long, mixed, others, plan
from tf_exporter.progress import progress
from tf_exporter.reference import Job, Reference
from tf_exporter.samples import CONTEXTS, code_point_texts, decoded, generated_texts, quick_texts
from tf_exporter.signatures import sparse_name
from tf_exporter.sparse import UNUSED_INDEX
from tf_exporter.spec import CROSS_ENCODER, SPARSE_ENCODER
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tolerances import allowed

_GENERATED = 100_000
_CHUNK = 4096


@dataclass(frozen=True)
class Verification:
    """What was compared, and how far apart the answers were."""

    level: str
    token_texts: int
    """Texts whose ids were compared; all were equal."""
    embedding_texts: int
    """Embeddings that were compared; 0 where the reference is not installed."""
    max_abs_difference: float | None
    min_cosine: float | None
    not_checked: str | None
    """In plain words, what was not verified and why."""
    note: str | None
    """In plain words, what the reference was, where it was not the model's folder as it is."""
    reference_versions: dict[str, str]
    longest: str | None = None
    """In plain words, where no text as long as the model takes was compared, and why."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Text that the reference itself cannot encode → what it says of it. Such texts are not compared."""


def verify(
    folder: Path,
    model: Description,
    reference: Reference | None,
    *,
    level: str,
    limits: Limits,
    quiet: bool,
    cost: Cost | None = None,
    memory: int = 2**31,
    not_checked: str | None = None,
    note: str | None = None,
    max_seq_length: int | None = None,
) -> Verification:
    """Loads the SavedModel in `folder` and compares it with the reference.

    Args:
        folder: where the SavedModel is.
        model: what it was made of.
        reference: None where there is none.
        level: "quick" or "full".
        limits: how far embeddings and scores may be from the reference's.
        quiet: no progress bars.
        cost: of its largest Transformer; None where the length of a text costs little.
        memory: bytes that there are for one text, by which long texts are chosen.
        not_checked: where there is no reference, what is not verified and why.
        note: what the reference was, where it was not the model's folder as it is.
        max_seq_length: the reference's, in place of the model's own.

    Raises:
        VerificationError: the first difference found.
    """
    spec = model.tokenizer_spec
    texts = quick_texts(spec.max_length, spec.single.added, [token.content for token in spec.added_tokens])
    answers = None
    if reference is not None:
        planned = plan(texts, model, cost, memory)
        reference.submit([job for _, job in planned.jobs], max_seq_length)
        if reference.waits or planned.has_long:
            answers = reference.answers()
    loaded = tf.saved_model.load(str(folder)).signatures
    compared = sum(check_tokens(loaded[name], name, model, texts, level, quiet) for name in model.tokenizers)
    if reference is None:
        return Verification(level, compared, 0, None, None, not_checked, None, {})
    expected, versions = answers or reference.answers()
    differences, cosines, number = [0.0], [1.0], 0
    left_out: dict[str, str] = {}
    raw = {decoded(text): text for text in texts}
    for (name, job), (wanted, failed) in zip(planned.jobs, expected):
        left_out.update({shortened(job.texts[row], 60): reason for row, reason in failed.items()})
        rows = [row for row in range(len(job.texts)) if row not in failed]
        found = _compute(loaded, name, model, job, rows, cost, raw)
        difference, cosine = compare(found, wanted, [job.texts[row] for row in rows], limits, name)
        differences.append(difference)
        cosines.append(cosine)
        number += len(rows)
    least = min(cosines) if model.output == OUTPUT else None
    return Verification(
        level, compared, number, max(differences), least, None, note, versions, planned.note, dict(sorted(left_out.items()))
    )


def check_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    name: str,
    model: Description,
    texts: list[bytes],
    level: str,
    quiet: bool,
) -> int:
    """Compares the token ids of one of the model's tokenizers; how many texts there were."""
    hf_tokenizer, spec = model.tokenizers[name]
    if model.kind == CROSS_ENCODER:
        return check_padded_tokens(tokenize, hf_tokenizer, spec, texts, others(texts))
    compared = check_padded_tokens(tokenize, hf_tokenizer, spec, texts)
    if level == "full":
        compared += check_many_tokens(tokenize, hf_tokenizer, spec, quiet)
    return compared


def check_padded_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: Any,
    spec: TokenizerSpec,
    texts: Sequence[bytes],
    pairs: Sequence[bytes] | None = None,
) -> int:
    """Compares ids and masks of padded batches, as sentence-transformers asks its tokenizer for them."""
    limit = {"truncation": "longest_first", "max_length": spec.max_length} if spec.max_length else {}
    slices = [slice(start, start + BATCH) for start in range(0, len(texts), BATCH)] + [
        slice(n, n + 1) for n in range(min(8, len(texts)))
    ]
    for rows in slices:
        inputs = [texts[rows]] if pairs is None else [texts[rows], pairs[rows]]
        expected = hf_tokenizer(*([decoded(text) for text in batch] for batch in inputs), padding=True, **limit)
        found = tokenize(**dict(zip((INPUT, PAIR), map(tf.constant, inputs))))
        for name in ("input_ids", "attention_mask"):
            matrix = np.array(expected[name], np.int32).reshape(len(texts[rows]), -1)
            if not np.array_equal(found[name].numpy(), matrix):
                _refuse_tokens(texts[rows], name, found[name].numpy(), matrix)
    return len(texts)


def _refuse_tokens(batch: Sequence[bytes], name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise VerificationError(f"tokenize: {name} has shape {list(found.shape)}, not {list(expected.shape)}")
    row = int((found != expected).any(axis=1).argmax())
    raise VerificationError(
        f"tokenize: {name} of {shortened(batch[row])} are {shortened(found[row].tolist())}, "
        f"not {shortened(expected[row].tolist())}"
    )


def check_many_tokens(tokenize: Callable[..., dict[str, tf.Tensor]], hf_tokenizer: Any, spec: TokenizerSpec, quiet: bool) -> int:
    """Every code point in several contexts, and many generated texts."""
    contents = [token.content for token in spec.added_tokens]
    sources: list[list[str]] = [code_point_texts(context) for context in CONTEXTS]
    sources.append(generated_texts(2, _GENERATED, contents))
    total = sum(map(len, sources))
    with progress("token ids", total, quiet) as bar:
        for text, found, expected in token_mismatches(
            tokenize, hf_tokenizer, spec, itertools.chain.from_iterable(sources), bar.update
        ):
            raise VerificationError(f"tokenize: ids of {shortened(text)} are {shortened(found)}, not {shortened(expected)}")
    return total


def token_mismatches(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: Any,
    spec: TokenizerSpec,
    texts: Iterable[str],
    update: Callable[[int], object] = lambda count: None,
) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yields (text, ids found, ids expected) wherever the graph and `tokenizers` disagree."""
    backend = hf_tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    if spec.max_length is not None:
        backend.enable_truncation(spec.max_length, strategy="longest_first", direction=spec.truncation_side)
    texts = iter(texts)
    while chunk := list(itertools.islice(texts, _CHUNK)):
        answer = tokenize(**{INPUT: tf.constant([text.encode() for text in chunk])})
        ids, present = answer["input_ids"].numpy(), answer["attention_mask"].numpy().astype(bool)
        for text, row, mask, encoding in zip(
            chunk, ids, present, backend.encode_batch(chunk, add_special_tokens=spec.single.added > 0)
        ):
            found = row[mask].tolist()
            if found != encoding.ids:
                yield text, found, encoding.ids
        update(len(chunk))


def _compute(
    loaded: Any, name: str, model: Description, job: Job, rows: list[int], cost: Cost | None, raw: dict[str, bytes]
) -> np.ndarray:
    """float32 [rows, dim]: what the saved graph makes of some texts of a job; a sparse model's other signature has to agree.

    `raw`: texts of invalid UTF-8, as they are, by what the reference gets for them.
    """
    alone = job.batch_size == 1 and not model.leaking
    tokens = [0] * len(job.texts) if cost is None else count(model, job.texts, job.pairs)
    batches = mixed(rows, [is_long(number, cost) for number in tokens], model.batch_size or (1 if alone else BATCH))
    sides = {INPUT: job.texts} if job.pairs is None else {INPUT: job.texts, PAIR: job.pairs}
    results = []
    for batch in batches:
        # Where the size is fixed, the last batch is filled up with nothing.
        filling = [b""] * ((model.batch_size or 0) - len(batch))
        inputs = {
            key: tf.constant([*(raw.get(texts[row]) or texts[row].encode() for row in batch), *filling])
            for key, texts in sides.items()
        }
        result = loaded[name](**inputs)[model.output].numpy()
        if model.kind == SPARSE_ENCODER:
            _check_sparse(loaded[sparse_name(name)](**inputs), result, name)
        results.append(result[: len(batch)])
    return np.concatenate(results)


def _check_sparse(found: dict[str, tf.Tensor], dense: np.ndarray, name: str) -> None:
    """Refuses indices and weights that are not those of the embeddings."""
    indices, weights = found[INDICES].numpy(), found[WEIGHTS].numpy()
    rows = np.zeros((len(dense), dense.shape[1] - UNUSED_INDEX), np.float32)
    np.put_along_axis(rows, indices.astype(np.int64), weights, axis=1)
    # Where a place is filled up, the index is one behind the last.
    if not np.array_equal(rows[:, : dense.shape[1]], dense):
        raise VerificationError(f"{sparse_name(name)}: indices and weights are not those of {name}")


def compare(found: np.ndarray, expected: np.ndarray, texts: Sequence[str], limits: Limits, name: str) -> tuple[float, float]:
    """The largest absolute difference and the smallest cosine of two [texts, dim]; of scores, [texts], no cosine counts.

    A row with values above 1 may differ by more, in proportion (`tolerances.allowed`).

    Raises:
        VerificationError: they are further apart than allowed, or not numbers.
    """
    if found.shape != expected.shape:
        raise VerificationError(f"{name}: shape {list(found.shape)}, not {list(expected.shape)}")
    scores = found.ndim == 1
    if scores:
        found, expected = found[:, np.newaxis], expected[:, np.newaxis]
    # Of a text without words, the maximum over words is −∞ in the reference and here; its difference is none.
    infinite = np.isinf(expected) & (found == expected)
    found, expected = np.where(infinite, 0, found), np.where(infinite, 0, expected)
    found = found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected).max(axis=1)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected.astype(np.float64), axis=1)
        products = (found * expected).sum(axis=1)
        # Two zero vectors are equal; a zero vector and another one are not.
        cosine = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), difference == 0)
    most = allowed(limits.score_difference if scores else limits.difference, expected)
    fine = (difference <= most) & (scores | (cosine >= limits.min_cosine))
    if not fine.all():
        row = int(fine.argmin())
        raise VerificationError(
            f"{name}: what is computed of {shortened(texts[row], 60)} differs from the reference by "
            f"{difference[row]:.2e} (allowed {most[row]:.1e}), cosine {cosine[row]:.6f} (allowed {limits.min_cosine})"
        )
    return float(difference.max(initial=0.0)), float(cosine.min(initial=1.0))
