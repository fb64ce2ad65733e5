"""Offsets of tokens, compared with `tokenizers`: made, trained and real tokenizers; mistakes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import real
from fixtures.made import combinations, hostile_strings, made_tokenizer
from fixtures.real import REAL_TOKENIZERS
from fixtures.tokenizers import random_texts, random_tokenizer
from fixtures.trained import RECIPES, trained_texts, trained_tokenizer
from tests.support.helpers import misplaced, offsets_function
from tests.support.tensorflow_2_12 import unknown_in
from tf_exporter.errors import VerificationError
from tf_exporter.tokenizers import added_tokens, pipeline, post_processors, trimming
from tf_exporter.tokenizers.models import bpe, unigram
from tf_exporter.tokenizers.normalizers import precompiled
from tf_exporter.tokenizers.normalizers.steps import build_normalizer
from tf_exporter.tokenizers.ops import spans
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import read_tokenizer
from tf_exporter.tokenizers.unicode import code_points, composition
from tf_exporter.verification.tokens import check_padded_tokens, offset_mismatches

slow = pytest.mark.slow


def eager_function(hf_tokenizer: Any, max_length: int | None) -> Any:
    """`offsets_function` without a graph, which takes longer to make than a few calls."""
    spec = read_tokenizer(hf_tokenizer, max_length)
    graph = TokenizerGraph(spec, hf_tokenizer.backend_tokenizer, offsets=True)
    return lambda input_sequence: graph.described(graph(input_sequence))._asdict(), spec


QUICK = range(0, 17, 5)
"""The places in the first combinations that are compared in the quick tests."""


@pytest.mark.parametrize(
    ("seed", "place"),
    [
        pytest.param(seed, place, marks=[slow] * (seed > 0 or place not in QUICK))
        for seed in range(4)
        for place in range(17)
    ],
)
def test_made_tokenizer(seed: int, place: int) -> None:
    hf_tokenizer = made_tokenizer(*combinations(seed)[place])
    random_ = random.Random(place)
    hf_tokenizer.truncation_side = random_.choice(["left", "right"])
    hf_tokenizer.padding_side = random_.choice(["left", "right"])
    tokenize, spec = eager_function(hf_tokenizer, random_.choice([None, None, 6, 9]))
    texts = hostile_strings(seed, 400)
    check_padded_tokens(
        tokenize, hf_tokenizer, spec, [text.encode() for text in texts[:64]], offsets=True
    )
    assert list(offset_mismatches(tokenize, hf_tokenizer, spec, texts)) == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[slow] * (name != "llama")) for name in RECIPES],
)
def test_trained_tokenizer(name: str) -> None:
    hf_tokenizer = trained_tokenizer(name, seed=0)
    max_length = random.Random(name).choice([None, 5, 16])
    tokenize, spec = offsets_function(hf_tokenizer, max_length)
    assert unknown_in(tokenize) == set()
    texts = trained_texts(0, 300, [token.content for token in spec.added_tokens])
    raw = [text.encode() for text in texts[:60]] + [b"\xff\xc3a", b"", b" caf\xe9 "]
    check_padded_tokens(tokenize, hf_tokenizer, spec, raw, offsets=True)
    assert list(offset_mismatches(tokenize, hf_tokenizer, spec, texts)) == []


@slow
@pytest.mark.parametrize("seed", range(8))
def test_random_tokenizer(seed: int) -> None:
    assert misplaced(random_tokenizer(seed), random_texts(seed, 1500)) == []


@slow
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", *REAL_TOKENIZERS])
def test_real_tokenizer(name: str) -> None:
    """The sweep compares every code point."""
    hf_tokenizer = real.real_tokenizer(name)
    if hf_tokenizer is None:
        pytest.skip(f"the files of {name} are not there")
    tokens = [token.content for token in read_tokenizer(hf_tokenizer, None).added_tokens]
    texts = [*trained_texts(0, 1000, tokens[:40]), *hostile_strings(0, 2000)]
    assert misplaced(hf_tokenizer, texts) == []


@pytest.mark.parametrize(
    "name",
    ["roberta", *(pytest.param(name, marks=slow) for name in ("bert", "llama", "ignore_merges"))],
)
@pytest.mark.parametrize("max_length", [pytest.param(None, marks=slow), 9])
def test_pairs(name: str, max_length: int | None) -> None:
    """The offsets of the second text are places in the second text."""
    hf_tokenizer = trained_tokenizer(name, seed=1)
    spec = read_tokenizer(hf_tokenizer, max_length)
    graph = TokenizerGraph(spec, hf_tokenizer.backend_tokenizer, offsets=True)
    texts = [text.encode() for text in hostile_strings(1, 200)] + [b"", b""]
    check_padded_tokens(
        lambda input_sequence, pair_sequence: graph.described(
            graph.pairs(input_sequence, pair_sequence)
        )._asdict(),
        hf_tokenizer,
        spec,
        texts,
        texts[::-1],
        offsets=True,
    )


def test_empty_batch() -> None:
    tokenize, _ = eager_function(trained_tokenizer("bert", seed=0), None)
    result = tokenize(tf.constant([], tf.string))
    assert result["offset_mapping"].shape == [0, 0, 2]
    assert result["special_tokens_mask"].shape == [0, 0]


REAL_SPANS: Any = spans.with_spans
REAL_DESCRIBED: Any = post_processors.Padding.described
REAL_TRIM: Any = trimming.Trimming.__call__


REAL_REORDER: Any = code_points.CodePointNormalizer._reorder


def one_before(codes: Any, spans: Any) -> Any:
    return codes, None if spans is None else tf.roll(spans, 1, 0)


def from_the_batch(texts: Any, trims: bool) -> Any:
    """Spans that are places in all texts together."""
    texts = REAL_SPANS(texts, trims)
    starts = tf.repeat(texts.row_splits[:-1], texts.row_splits[1:] - texts.row_splits[:-1])
    moved = tf.pad(starts[:, tf.newaxis], [[0, 0], [0, texts.spans.shape[1] - 1]])
    return texts._replace(spans=texts.spans + moved)


def spelled_ones_too(self: Any, encodings: Any) -> Any:
    """The mask also for special tokens that a text spells."""
    described = REAL_DESCRIBED(self, encodings)
    spelled = tf.cast(tf.equal(described.input_ids, 2), tf.int32)
    return described._replace(
        special_tokens_mask=tf.maximum(described.special_tokens_mask, spelled)
    )


MISTAKES: dict[str, tuple[str, Any, str, Any]] = {
    "places in the batch": ("bert", pipeline, "with_spans", from_the_batch),
    "spelled special tokens": (
        "bert",
        post_processors.Padding,
        "described",
        spelled_ones_too,
    ),
    "steps in one": ("bert", pipeline, "build_aligned_normalizer", build_normalizer),
    "marks with the spans before theirs": (
        "nfd",
        code_points.CodePointNormalizer,
        "_reorder",
        lambda self, *texts: one_before(*REAL_REORDER(self, *texts)),
    ),
    "composed without what is absorbed": (
        "nfc",
        composition.Composition,
        "_composed",
        lambda self, texts: self._compose(self._decompose(texts)),
    ),
    "nothing lags behind": (
        "precompiled",
        precompiled,
        "sources",
        lambda texts, unit_start, owner: tf.gather(unit_start, owner),
    ),
    "added tokens without white space": (
        "bert",
        added_tokens,
        "covering",
        lambda spans, first, last: tf.gather(spans, last),
    ),
    "not trimmed": (
        "roberta",
        trimming.Trimming,
        "__call__",
        lambda self, encodings: encodings._replace(spans=encodings.spans[:, :2]),
    ),
    "the inserted space trimmed": (
        "roberta",
        trimming.Trimming,
        "__call__",
        lambda self, encodings: without_prefix_space(self, encodings),
    ),
    "dropped characters counted": (
        "bpe dropping",
        bpe,
        "shifted_spans",
        lambda words, first, last, dropped: spans.covering(words.spans, first, last),
    ),
    "unknown characters apart": (
        "bpe fused",
        bpe,
        "run_of",
        lambda flags: [tf.range(tf.size(flags))] * 2,
    ),
    "unknown pieces apart": (
        "unigram",
        unigram,
        "run_of",
        lambda flags: [tf.range(tf.size(flags))] * 2,
    ),
}
PARTS = {
    "bert": ("bert", "bert", "wordpiece", "template"),
    "nfd": ("nfd", "none", "bpe", "template"),
    "nfc": ("nfc", "none", "unigram", "template"),
    "precompiled": ("precompiled", "metaspace", "unigram", "template"),
    "roberta": ("none", "bytes, space", "bpe byte-level", "roberta"),
    "bpe dropping": ("none", "whitespace", "bpe dropping", "none"),
    "bpe fused": ("none", "whitespace", "bpe fused", "none"),
    "unigram": ("none", "metaspace", "unigram bytes", "none"),
}
"""Name → parts of a made tokenizer."""


def without_prefix_space(self: Any, encodings: Any) -> Any:
    self._trims = tuple(trim._replace(add_prefix_space=False) for trim in self._trims)
    return REAL_TRIM(self, encodings)


@slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, *patch = MISTAKES[name]
    hf_tokenizer = made_tokenizer(*PARTS[parts])
    texts = [text.encode() for text in hostile_strings(0, 200)]
    check_padded_tokens(*_checked(hf_tokenizer), texts, offsets=True)
    monkeypatch.setattr(*patch)
    with pytest.raises(VerificationError, match=r"tokenize_with_offsets: (offset|special)"):
        check_padded_tokens(*_checked(hf_tokenizer), texts, offsets=True)


def _checked(hf_tokenizer: Any) -> tuple[Any, Any, Any]:
    tokenize, spec = eager_function(hf_tokenizer, None)
    return tokenize, hf_tokenizer, spec


def test_mismatches_are_yielded() -> None:
    """A list for each text: id, first character, end and special tokens mask of its tokens."""
    tokenize, hf_tokenizer, spec = _checked(made_tokenizer(*PARTS["bert"]))

    def wrong(input_sequence: Any) -> Any:
        result = tokenize(input_sequence)
        return {**result, "offset_mapping": result["offset_mapping"] * 2}

    [(text, actual, expected)] = offset_mismatches(wrong, hf_tokenizer, spec, ["", "ab c"])
    assert text == "ab c"
    assert np.array(expected)[:, 1:].tolist() == [[0, 0, 1], [0, 2, 0], [3, 4, 0], [0, 0, 1]]
    assert np.array(actual)[:, 1:].tolist() == [[0, 0, 1], [0, 4, 0], [6, 8, 0], [0, 0, 1]]
