"""Proof that a saved graph answers as the reference does: token ids first, then embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.graph import INPUT, OUTPUT
from tf_exporter.progress import progress
from tf_exporter.reference import Job, Reference
from tf_exporter.samples import CONTEXTS, code_point_texts, decoded, generated_texts, quick_texts
from tf_exporter.tokenizers.spec import TokenizerSpec

MIN_COSINE = 0.99999
BATCH = 32
_GENERATED = 100_000
_CHUNK = 4096
_SINGLES = 48
"""How many texts are also encoded one by one."""


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


def verify(
    folder: Path,
    prompts: dict[str, str],
    spec: TokenizerSpec,
    hf_tokenizer: Any,
    reference: Reference | None,
    *,
    level: str,
    atol: float,
    quiet: bool,
    not_checked: str | None = None,
    note: str | None = None,
) -> Verification:
    """Loads the SavedModel in `folder` and compares it with the reference.

    Args:
        folder: where the SavedModel is.
        prompts: the prompt of each signature that encodes.
        spec: the tokenizer's parts.
        hf_tokenizer: the transformers tokenizer, set up as sentence-transformers does.
        reference: None where there is none.
        level: "quick" or "full".
        atol: largest absolute difference of an embedding's component.
        quiet: no progress bars.
        not_checked: where there is no reference, what is not verified and why.
        note: what the reference was, where it was not the model's folder as it is.

    Raises:
        VerificationError: the first difference found.
    """
    texts = quick_texts(spec.max_length, spec.single.added, [token.content for token in spec.added_tokens])
    jobs = _jobs(texts, prompts)
    if reference is not None:
        reference.submit([job for _, job in jobs])
    signatures = tf.saved_model.load(str(folder)).signatures
    tokenize = signatures["tokenize"]
    compared = check_padded_tokens(tokenize, hf_tokenizer, spec, texts)
    if level == "full":
        compared += check_many_tokens(tokenize, hf_tokenizer, spec, quiet)
    if reference is None:
        return Verification(level, compared, 0, None, None, not_checked, None, {})
    expected, versions = reference.answers()
    differences, cosines, count = [0.0], [1.0], 0
    for (name, job), answer in zip(jobs, expected):
        found = _encode(signatures[name], job, texts)
        difference, cosine = compare(found, answer, job.texts, atol, name)
        differences.append(difference)
        cosines.append(cosine)
        count += len(job.texts)
    return Verification(level, compared, count, max(differences), min(cosines), None, note, versions)


def check_padded_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]], hf_tokenizer: Any, spec: TokenizerSpec, texts: Sequence[bytes]
) -> int:
    """Compares ids and masks of padded batches, as sentence-transformers asks its tokenizer for them."""
    limit = {"truncation": "longest_first", "max_length": spec.max_length} if spec.max_length else {}
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)] + [[text] for text in texts[:8]]
    for batch in batches:
        expected = hf_tokenizer([decoded(text) for text in batch], padding=True, **limit)
        found = tokenize(**{INPUT: tf.constant(batch)})
        for name in ("input_ids", "attention_mask"):
            matrix = np.array(expected[name], np.int32).reshape(len(batch), -1)
            if not np.array_equal(found[name].numpy(), matrix):
                _refuse_tokens(batch, name, found[name].numpy(), matrix)
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
        for text, row, mask, encoding in zip(chunk, ids, present, backend.encode_batch(chunk)):
            found = row[mask].tolist()
            if found != encoding.ids:
                yield text, found, encoding.ids
        update(len(chunk))


def _jobs(texts: Sequence[bytes], prompts: dict[str, str]) -> list[tuple[str, Job]]:
    """All texts through `serving_default`, in mixed batches and some one by one; fewer through the other prompts."""
    all_texts = [decoded(text) for text in texts]
    default = prompts["serving_default"]
    jobs = [
        ("serving_default", Job(all_texts, default, BATCH)),
        ("serving_default", Job(all_texts[:: max(1, len(all_texts) // _SINGLES)], default, 1)),
    ]
    for name, prompt in prompts.items():
        if name != "serving_default":
            jobs.append((name, Job(all_texts[::5], prompt, BATCH)))
    return jobs


def _encode(signature: Callable[..., dict[str, tf.Tensor]], job: Job, raw: Sequence[bytes]) -> np.ndarray:
    texts = list(raw) if len(job.texts) == len(raw) else [text.encode() for text in job.texts]
    batches = (texts[start : start + job.batch_size] for start in range(0, len(texts), job.batch_size))
    return np.concatenate([signature(**{INPUT: tf.constant(batch)})[OUTPUT].numpy() for batch in batches])


def compare(found: np.ndarray, expected: np.ndarray, texts: Sequence[str], atol: float, name: str) -> tuple[float, float]:
    """The largest absolute difference and the smallest cosine of two [texts, dim].

    Raises:
        VerificationError: they are further apart than allowed, or not numbers.
    """
    if found.shape != expected.shape:
        raise VerificationError(f"{name}: shape {list(found.shape)}, not {list(expected.shape)}")
    difference = np.abs(found.astype(np.float64) - expected).max(axis=1)
    lengths = np.linalg.norm(found.astype(np.float64), axis=1) * np.linalg.norm(expected.astype(np.float64), axis=1)
    products = (found.astype(np.float64) * expected).sum(axis=1)
    # Two zero vectors are equal; a zero vector and another one are not.
    cosine = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), difference == 0)
    fine = (difference <= atol) & (cosine >= MIN_COSINE)
    if not fine.all():
        row = int(fine.argmin())
        raise VerificationError(
            f"{name}: the embedding of {shortened(texts[row], 60)} differs from the reference by "
            f"{difference[row]:.2e} (allowed {atol:.0e}), cosine {cosine[row]:.6f} (allowed {MIN_COSINE})"
        )
    return float(difference.max(initial=0.0)), float(cosine.min(initial=1.0))
