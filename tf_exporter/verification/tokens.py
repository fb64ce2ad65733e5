"""Comparison of a graph's token ids and offsets with those of Hugging Face tokenizers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.graph.description import Description
from tf_exporter.names import (
    ATTENTION,
    CROSS_ENCODER,
    INPUT,
    OFFSETS,
    PAIR,
    SPECIAL,
    TOKENIZE,
    TOKENIZE_WITH_OFFSETS,
    VECTOR_IDS,
)
from tf_exporter.progress import progress
from tf_exporter.tokenizers.contract import AlignedEncoding, Encoding, ReferenceTokenizer
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
        tokenize: the signature: strings → `input_ids` and the masks, perhaps with offsets.
        name: the signature's name in the model.
        model: the model that was saved.
        texts: the texts, some of them invalid UTF-8.
        level: "quick", or "full" for every code point and many generated texts, too.
        quiet: whether to hide the progress.

    Raises:
        VerificationError: token ids, masks or offsets differ.
    """
    offsets = name == TOKENIZE_WITH_OFFSETS
    hf_tokenizer, spec = model.tokenizers[TOKENIZE if offsets else name]
    pairs = model.kind == CROSS_ENCODER
    compared = check_padded_tokens(
        tokenize, hf_tokenizer, spec, texts, partners(texts) if pairs else None, offsets
    )
    if level == "full":
        compared += check_many_tokens(tokenize, hf_tokenizer, spec, quiet, pairs, offsets)
    return compared


def check_padded_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    texts: Sequence[bytes],
    pairs: Sequence[bytes] | None = None,
    offsets: bool = False,
) -> int:
    """Compares ids and masks of padded batches, as `check_tokens`; returns the number of rows.

    `offsets`: whether `tokenize` gives offsets, which are compared too.
    """
    signature, more = _signature(offsets), {"return_offsets_mapping": True} if offsets else {}
    limit = (
        {"truncation": "longest_first", "max_length": spec.max_length} if spec.max_length else {}
    )
    slices = [slice(start, start + BATCH) for start in range(0, len(texts), BATCH)] + [
        slice(n, n + 1) for n in range(min(8, len(texts)))
    ]
    for rows in slices:
        inputs = [texts[rows]] if pairs is None else [texts[rows], pairs[rows]]
        expected = hf_tokenizer(
            *([decoded(text) for text in batch] for batch in inputs),
            padding=True,
            return_special_tokens_mask=True,
            **limit,
            **more,
        )
        result = tokenize(**dict(zip((INPUT, PAIR), map(tf.constant, inputs))))
        for name in (VECTOR_IDS, ATTENTION, SPECIAL, *([OFFSETS] if offsets else [])):
            # Tokenizers of words alone do not give the mask of special tokens.
            if name == SPECIAL and (name not in expected or name not in result):
                continue
            matrix = np.array(expected[name], np.int32)
            shape = len(texts[rows]), -1, *([2] if name == OFFSETS else [])
            matrix = matrix.reshape(shape if matrix.size else result[name].shape)
            if not np.array_equal(result[name].numpy(), matrix):
                _refuse_tokens(texts[rows], signature, name, result[name].numpy(), matrix)
    return len(texts)


def _refuse_tokens(
    batch: Sequence[bytes], signature: str, name: str, actual: np.ndarray, expected: np.ndarray
) -> None:
    if actual.shape != expected.shape:
        raise VerificationError(
            f"{signature}: {name} has shape {list(actual.shape)}, not {list(expected.shape)}"
        )
    row = int((actual != expected).reshape(len(batch), -1).any(axis=1).argmax())
    raise VerificationError(
        f"{signature}: {name} of {shortened(batch[row])} are {shortened(actual[row].tolist())}, "
        f"not {shortened(expected[row].tolist())}"
    )


def check_many_tokens(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    quiet: bool,
    pairs: bool = False,
    offsets: bool = False,
) -> int:
    """Compares the ids of every code point and of many generated texts, as `check_tokens`.

    `pairs`: whether `tokenize` takes pairs; each text then has a partner. `offsets`: whether it
    gives offsets, which are compared too.
    """
    find = offset_mismatches if offsets else token_mismatches
    signature, name = _signature(offsets), "offsets" if offsets else "ids"
    contents = [token.content for token in spec.added_tokens]
    sources: list[list[str]] = [code_point_texts(context) for context in CONTEXTS]
    sources.append(generated_texts(2, _GENERATED, contents))
    total = sum(map(len, sources))
    with progress("token ids", total, quiet) as bar:
        for text, actual, expected in find(
            tokenize, hf_tokenizer, spec, itertools.chain.from_iterable(sources), bar.update, pairs
        ):
            raise VerificationError(
                f"{signature}: {name} of {shortened(text)} are {shortened(actual)}, "
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
    for chunk, result, encodings in _chunks(tokenize, hf_tokenizer, spec, texts, pairs):
        ids, present = result[VECTOR_IDS].numpy(), result[ATTENTION].numpy().astype(bool)
        for text, row, mask, encoding in zip(chunk, ids, present, encodings):
            actual = row[mask].tolist()
            if actual != encoding.ids:
                yield text, actual, encoding.ids
        update(len(chunk))


def offset_mismatches(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    texts: Iterable[str],
    update: Callable[[int], object] = lambda count: None,
    pairs: bool = False,
) -> Iterator[tuple[str, list[list[int]], list[list[int]]]]:
    """`token_mismatches` of a graph that gives offsets.

    A list has the id, the first character, the end and the special tokens mask of each token.
    """
    for chunk, result, encodings in _chunks(tokenize, hf_tokenizer, spec, texts, pairs):
        # Signatures with offsets have a tokenizer of `tokenizers` itself as the reference.
        aligned = cast("Sequence[AlignedEncoding]", encodings)
        lengths = [len(encoding.ids) for encoding in aligned]
        expected = _rows(
            np.array([id for encoding in aligned for id in encoding.ids]),
            np.array([span for encoding in aligned for span in encoding.offsets]),
            np.array([flag for encoding in aligned for flag in encoding.special_tokens_mask]),
        )
        present = result[ATTENTION].numpy().astype(bool)
        actual = _rows(*(result[name].numpy()[present] for name in (VECTOR_IDS, OFFSETS, SPECIAL)))
        counts = present.sum(1)
        if counts.tolist() != lengths or not np.array_equal(actual, expected):
            ours = np.split(actual, np.cumsum(counts)[:-1])
            theirs = np.split(expected, np.cumsum(lengths)[:-1])
            for text, row, wanted in zip(chunk, ours, theirs):
                if not np.array_equal(row, wanted):
                    yield text, row.tolist(), wanted.tolist()
        update(len(chunk))


def _rows(ids: np.ndarray, spans: np.ndarray, special: np.ndarray) -> np.ndarray:
    """[tokens] ids, [tokens, 2] offsets and [tokens] flags in one matrix: int [tokens, 4]."""
    columns = ids[:, np.newaxis], spans.reshape(-1, 2), special[:, np.newaxis]
    matrix: np.ndarray = np.concatenate(columns, axis=1).astype(np.int64)
    return matrix


def _signature(offsets: bool) -> str:
    return TOKENIZE_WITH_OFFSETS if offsets else TOKENIZE


def _chunks(
    tokenize: Callable[..., dict[str, tf.Tensor]],
    hf_tokenizer: ReferenceTokenizer,
    spec: TokenizerSpec,
    texts: Iterable[str],
    pairs: bool,
) -> Iterator[tuple[list[str], dict[str, tf.Tensor], Sequence[Encoding]]]:
    """Texts, what the graph gives for them, and what the reference gives for them."""
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
        rows: list[Any] = [*zip(*columns)] if pairs else chunk
        yield (
            chunk,
            tokenize(**dict(zip((INPUT, PAIR), inputs))),
            backend.encode_batch(rows, add_special_tokens=added > 0),
        )
