"""Comparison of a graph's token ids with those of Hugging Face tokenizers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.graph.description import Description
from tf_exporter.names import CROSS_ENCODER, INPUT, PAIR
from tf_exporter.progress import progress
from tf_exporter.tokenizers.contract import ReferenceTokenizer
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.verification.plans import BATCH, partners
from tf_exporter.verification.sample_texts import (
    CONTEXTS,
    code_point_texts,
    decoded,
    generated_texts,
)

_GENERATED = 100_000
_CHUNK = 4096


def check_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    name: str,
    model: Description,
    texts: list[bytes],
    level: str,
    quiet: bool,
) -> int:
    """Compares token ids of one of the model's tokenizers; returns the number of texts or pairs.

    Args:
        tokenize: the signature: strings → `input_ids` and `attention_mask`.
        name: the tokenizer's name in the model.
        model: the model that was saved.
        texts: the texts, some of them invalid UTF-8.
        level: "quick", or "full" for every code point and many generated texts, too.
        quiet: whether to hide the progress.

    Raises:
        VerificationError: token ids or masks differ.
    """
    hf_tokenizer, spec = model.tokenizers[name]
    pairs = model.kind == CROSS_ENCODER
    compared = check_padded_tokens(
        tokenize, hf_tokenizer, spec, texts, partners(texts) if pairs else None
    )
    if level == "full":
        compared += check_many_tokens(tokenize, hf_tokenizer, spec, quiet, pairs)
    return compared


def check_padded_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    texts: Sequence[bytes],
    pairs: Sequence[bytes] | None = None,
) -> int:
    """Compares ids and masks of padded batches, as `check_tokens`; returns the number of rows."""
    limit = (
        {"truncation": "longest_first", "max_length": spec.max_length} if spec.max_length else {}
    )
    slices = [slice(start, start + BATCH) for start in range(0, len(texts), BATCH)] + [
        slice(n, n + 1) for n in range(min(8, len(texts)))
    ]
    for rows in slices:
        inputs = [texts[rows]] if pairs is None else [texts[rows], pairs[rows]]
        expected = hf_tokenizer(
            *([decoded(text) for text in batch] for batch in inputs), padding=True, **limit
        )
        result = tokenize(**dict(zip((INPUT, PAIR), map(tf.constant, inputs))))
        for name in ("input_ids", "attention_mask"):
            matrix = np.array(expected[name], np.int32).reshape(len(texts[rows]), -1)
            if not np.array_equal(result[name].numpy(), matrix):
                _refuse_tokens(texts[rows], name, result[name].numpy(), matrix)
    return len(texts)


def _refuse_tokens(
    batch: Sequence[bytes], name: str, actual: np.ndarray, expected: np.ndarray
) -> None:
    if actual.shape != expected.shape:
        raise VerificationError(
            f"tokenize: {name} has shape {list(actual.shape)}, not {list(expected.shape)}"
        )
    row = int((actual != expected).any(axis=1).argmax())
    raise VerificationError(
        f"tokenize: {name} of {shortened(batch[row])} are {shortened(actual[row].tolist())}, "
        f"not {shortened(expected[row].tolist())}"
    )


def check_many_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    quiet: bool,
    pairs: bool = False,
) -> int:
    """Compares the ids of every code point and of many generated texts, as `check_tokens`.

    `pairs`: whether `tokenize` takes pairs; each text then has a partner.
    """
    contents = [token.content for token in spec.added_tokens]
    sources: list[list[str]] = [code_point_texts(context) for context in CONTEXTS]
    sources.append(generated_texts(2, _GENERATED, contents))
    total = sum(map(len, sources))
    with progress("token ids", total, quiet) as bar:
        for text, actual, expected in token_mismatches(
            tokenize, hf_tokenizer, spec, itertools.chain.from_iterable(sources), bar.update, pairs
        ):
            raise VerificationError(
                f"tokenize: ids of {shortened(text)} are {shortened(actual)}, "
                f"not {shortened(expected)}"
            )
    return total


def token_mismatches(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    texts: Iterable[str],
    update: Callable[[int], object] = lambda count: None,
    pairs: bool = False,
) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yields (text, actual ids, expected ids) wherever the graph and `tokenizers` disagree.

    `update` gets the number of texts after each chunk. `pairs`: whether `tokenize` takes pairs;
    each text then has a partner from its chunk, and the first text of a pair is yielded.
    """
    backend = hf_tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    if spec.max_length is not None:
        backend.enable_truncation(
            spec.max_length, strategy="longest_first", direction=spec.truncation_side
        )
    added = (spec.pair if pairs else spec.single).added
    texts = iter(texts)
    while chunk := list(itertools.islice(texts, _CHUNK)):
        columns = [chunk, partners(chunk)] if pairs else [chunk]
        inputs = [tf.constant([text.encode() for text in column]) for column in columns]
        result = tokenize(**dict(zip((INPUT, PAIR), inputs)))
        ids, present = result["input_ids"].numpy(), result["attention_mask"].numpy().astype(bool)
        rows: list[Any] = [*zip(*columns)] if pairs else chunk
        for text, row, mask, encoding in zip(
            chunk,
            ids,
            present,
            backend.encode_batch(rows, add_special_tokens=added > 0),
        ):
            actual = row[mask].tolist()
            if actual != encoding.ids:
                yield text, actual, encoding.ids
        update(len(chunk))
