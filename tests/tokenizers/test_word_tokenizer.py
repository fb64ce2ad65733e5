"""WhitespaceTokenizer word by word, and Python's lower case code point by code point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

from fixtures.word_models import STOP_WORDS, WORDS
from tf_exporter.tokenizers.ops.string_table import StringTable
from tf_exporter.tokenizers.spec import WordsSpec
from tf_exporter.tokenizers.whitespace import WordTokenizer, word_ids, words_spec
from tf_exporter.verification.sample_texts import (
    INVALID_UTF8,
    SENTENCES,
    code_point_texts,
    decoded,
    generated_texts,
)

pytestmark = pytest.mark.slow


VOCABULARY = [*WORDS, "", "σ", "ας", "ας'α", "ασ:β", "a", "b", "ab", "hello", "\ud7ff"]
TOKENIZER_TEXTS = [
    "",
    " ",
    *SENTENCES,
    *(sentence.upper() for sentence in SENTENCES),
    "Σ ΑΣ ΑΣ'Α α.Σ αΣ:β Σ. 'ΑΣ' (ΑΣ) ΑΣ\u0301 ΑΣΑ.Σ ʰΣ",
    "hello\x1chello\x85hello\u200bhello\u3000hello",
    "...hello... ... !?! hello-world 'hello -- the THE The. and AND And,",
    "u.s.a. U.S.A. .u.s.a.. İstanbul İSTANBUL' straße STRASSE",
]


@pytest.mark.parametrize("do_lower_case", [False, True])
@pytest.mark.parametrize("stop_words", [STOP_WORDS, [*STOP_WORDS, "", "hello", "σ"], []])
def test_tokenizer(do_lower_case: bool, stop_words: list[str]) -> None:
    """Duplicate words, the empty word that punctuation becomes, and stop words, removed first."""
    theirs = WhitespaceTokenizer(VOCABULARY, stop_words, do_lower_case)
    tokenize, plain = tokenizer_function(VOCABULARY, stop_words, do_lower_case)
    texts = [*TOKENIZER_TEXTS, *generated_texts(1, 2000, VOCABULARY)]
    raw = [*(text.encode() for text in texts), *INVALID_UTF8]
    for text, result in zip(map(decoded, raw), tokenize(raw), strict=True):
        assert result == plain(text) == theirs.tokenize(text), repr(text)


def tokenizer_function(
    vocab: list[str], stop_words: list[str], do_lower_case: bool = False
) -> tuple[Callable[[list[bytes]], list[list[int]]], Callable[[str], list[int]]]:
    """Our tokenizer as a graph, and in plain Python."""
    spec = WordsSpec(
        {word: id for id, word in enumerate(vocab)}, frozenset(stop_words), do_lower_case
    )
    graph = WordTokenizer(words_spec(spec, None), spec)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def tokenize(texts: tf.Tensor) -> Any:
        return graph.padding(graph(texts))

    def lists(texts: list[bytes]) -> list[list[int]]:
        padded = tokenize(tf.constant(texts))
        rows = zip(padded.input_ids.numpy(), padded.attention_mask.numpy().astype(bool))
        return [ids[mask].tolist() for ids, mask in rows]

    return lists, word_ids(spec)


@pytest.mark.parametrize("context", ["{}", "a{}Σ {}Σ", "ΑΣ{} ΑΣ{}a", "hello{}world {}hello{}"])
def test_every_code_point(context: str) -> None:
    """As lower case, as white space, and beside a sigma; a sample past the first planes."""
    texts = code_point_texts(context)
    texts = (
        texts[:0x3100]
        + texts[0xA000:0xB000]
        + texts[0xF700 : 0x1F800 : 1 if context == "{}" else 3]
        + texts[-40:]
    )
    words = sorted({word for text in texts for word in text.lower().split()})
    tokenize, plain = tokenizer_function(words, [])
    theirs = WhitespaceTokenizer(words, [])
    for text, result in zip(texts, tokenize([text.encode() for text in texts]), strict=True):
        assert result == plain(text) == theirs.tokenize(text), ascii(text)


def test_string_table() -> None:
    """Every string maps to its number and others to the default; NUL bytes, large buckets."""
    strings = ["", "\0", "a", "a\0", *(f"word {number}" for number in range(3000))]
    table = StringTable({string: number for number, string in enumerate(strings)}, -7)
    others = ["b", "\0\0", "word", "word 3000"]
    result = table(tf.constant([string.encode() for string in [*strings, *others]])).numpy()
    assert result.tolist() == [*range(len(strings)), -7, -7, -7, -7]
    assert StringTable({}, 3)(tf.constant(["", "a"])).numpy().tolist() == [3, 3]
    assert table(tf.constant([], tf.string)).shape == (0,)
