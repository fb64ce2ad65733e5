"""The pre-tokenizers of `tokenizers`: each step splits the words of the previous step further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tokenizers import pre_tokenizers

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import TokenizersPart
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    RaggedCodes,
    count,
    expand,
    offsets,
    places,
    rarely,
    reachable_ahead,
    row_starts,
    run_ends,
    section_starts,
    select,
    shift_left,
    shift_right,
    utf8_byte,
    utf8_length,
)
from tf_exporter.tokenizers.ops.spans import gathered
from tf_exporter.tokenizers.ops.tables import CodePointTable, graph_constant
from tf_exporter.tokenizers.patterns.pattern import GPT2, read_pattern, regex_pattern
from tf_exporter.tokenizers.spec import Part
from tf_exporter.tokenizers.unicode.probing import probe_pre_tokenizer, probe_words

_BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
_SCHEMES = ("first", "always", "never")
INSIDE, REMOVED, ISOLATED = range(3)
"""Classes of a code point: part of a word, removed between words, a word of its own."""


class Words(NamedTuple):
    """Texts, split into words; added tokens and codes between words are in no word."""

    codes: tf.Tensor
    """int32 [N]"""
    starts: tf.Tensor
    """Bool [N]: whether a word starts here."""
    inside: tf.Tensor
    """Bool [N]: whether the word of the previous code goes on here."""
    row_splits: tf.Tensor
    """int32 [batch + 1]"""
    spans: tf.Tensor | None = None
    """The text of each code, see ops/spans.py; None where offsets are not asked for."""


Step = Callable[[Words], Words]


def whole_sections(texts: RaggedCodes) -> Words:
    """Each section between added tokens as one word."""
    starts = section_starts(texts)
    inside = (texts.codes < ADDED_TOKEN_BASE) & ~starts
    return Words(texts.codes, starts, inside, texts.row_splits, texts.spans)


def _previous(flags: tf.Tensor) -> tf.Tensor:
    return shift_right(flags, first=False)


class ByClass:
    """BertPreTokenizer and WhitespaceSplit, which treat each code point by itself."""

    def __init__(self, classes: np.ndarray, added_token_count: int) -> None:
        """`classes`: int32 [UNICODE_SIZE]."""
        self._table = CodePointTable(
            np.concatenate([classes, np.zeros(added_token_count, np.int32)])
        )
        self._removes = bool((classes == REMOVED).any())
        self._isolates = bool((classes == ISOLATED).any())

    def __call__(self, words: Words) -> Words:
        classes = self._table(words.codes)
        plain = classes == INSIDE
        kept = classes != REMOVED if self._removes else tf.ones_like(plain)
        # A word starts where one did, after each code that is not plain, and at each isolated code.
        first = words.starts | ~_previous(plain)
        if self._isolates:
            first |= ~plain
        in_word = (words.starts | words.inside) & kept
        return words._replace(starts=in_word & first, inside=in_word & ~first)


class Split:
    """Split, and ByteLevel's regular expression: splits words at the matches of a pattern.

    Follows `NormalizedString::split` of `tokenizers` 0.23 for each `SplitDelimiterBehavior`.
    """

    def __init__(
        self, pattern: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], behavior: str, invert: bool
    ) -> None:
        self._pattern, self._behavior, self._invert = pattern, behavior, invert

    def __call__(self, words: Words) -> Words:
        in_word = words.starts | words.inside
        ends = word_ends(words)
        end = self._pattern(words.codes, ends)
        following = select(end >= 0, end, tf.range(count(end)) + 1)
        reached = reachable_ahead(words.starts, following, ends) & in_word
        # Codes that no match covers are reached one by one.
        unmatched = reached & (end < 0)
        match = unmatched if self._invert else in_word & ~unmatched
        boundaries = words.starts | (reached & (~unmatched | ~_previous(unmatched)))
        return _split_at(words, boundaries, match, self._behavior)


class Runs:
    """Whitespace: runs of word characters, and runs of neither word characters nor white space."""

    def __init__(self, added_token_count: int) -> None:
        word, other = probe_words()
        kinds = word.astype(np.int32) + 2 * other.astype(np.int32)
        self._table = CodePointTable(np.concatenate([kinds, np.zeros(added_token_count, np.int32)]))

    def __call__(self, words: Words) -> Words:
        kind = self._table(words.codes)
        in_word = (words.starts | words.inside) & (kind > 0)
        first = words.starts | (kind != shift_right(kind, first=0))
        return words._replace(starts=in_word & first, inside=in_word & ~first)


class SplitByClass:
    """Digits and Punctuation: `Split` where each character of a class is a match."""

    def __init__(self, members: np.ndarray, added_token_count: int, behavior: str) -> None:
        """`members`: bool [UNICODE_SIZE]."""
        self._table = CodePointTable(
            np.concatenate([members, np.zeros(added_token_count, bool)]).astype(np.int32)
        )
        self._behavior = behavior

    def __call__(self, words: Words) -> Words:
        match = self._table(words.codes) > 0
        return _split_at(
            words, words.starts | (words.inside & (match | _previous(match))), match, self._behavior
        )


def word_ends(words: Words) -> tf.Tensor:
    """The end of the word that each code is in: int32 [N]."""
    return run_ends(shift_left(words.inside, last=False)) + 1


def word_starts(words: Words) -> tf.Tensor:
    """The start of the word that each code is in; of other codes, their own place: int32 [N]."""
    first = ~words.inside
    return tf.gather(places(first), tf.cumsum(tf.cast(first, tf.int32)) - 1)


def _split_at(words: Words, boundaries: tf.Tensor, match: tf.Tensor, behavior: str) -> Words:
    """The words, split by one of the behaviors.

    `boundaries`: whether a match, or text between matches, starts at each code; `match`: whether
    each code is in a match; bool [N] each.
    """
    in_word = words.starts | words.inside
    changes = words.starts | (match != _previous(match))
    if behavior == "Removed":
        in_word &= ~match
        boundaries &= ~match
    elif behavior == "Contiguous":
        boundaries = changes & in_word
    elif behavior == "MergedWithPrevious":
        boundaries &= words.starts | ~(match & changes)
    elif behavior == "MergedWithNext":
        boundaries &= words.starts | ~(~match & changes)
    return words._replace(starts=boundaries & in_word, inside=in_word & ~boundaries)


class Metaspace:
    """Replaces spaces by a mark, inserts a mark before words, and splits words before each mark."""

    def __init__(self, replacement: str, prepend_scheme: str, split: bool) -> None:
        self._mark, self._scheme, self._split = ord(replacement), prepend_scheme, split

    def __call__(self, words: Words) -> Words:
        words = words._replace(codes=select(words.codes == ord(" "), self._mark, words.codes))
        before = words.starts & (words.codes != self._mark)
        if self._scheme == "first":
            before &= row_starts(RaggedCodes(words.codes, words.row_splits))
        if self._scheme != "never":
            words = prepend(words, before, self._mark)
        if self._split:
            first = words.inside & (words.codes == self._mark)
            words = words._replace(starts=words.starts | first, inside=words.inside & ~first)
        return words


class ByteLevel:
    """Replaces code points by the characters of their bytes, as in GPT-2's `bytes_to_unicode`."""

    def __init__(self) -> None:
        self._chars = graph_constant(np.array(byte_chars(), np.int32))

    def __call__(self, words: Words) -> Words:
        added = words.codes >= ADDED_TOKEN_BASE
        in_word = words.starts | words.inside
        ascii_only = tf.reduce_all(select(in_word, words.codes < 0x80, added))
        chars = select(added, words.codes, tf.gather(self._chars, tf.minimum(words.codes, 0x7F)))
        return rarely(
            ~ascii_only, lambda: self._bytes(words, added, in_word), words._replace(codes=chars)
        )

    def _bytes(self, words: Words, added: tf.Tensor, in_word: tf.Tensor) -> Words:
        lengths = select(in_word, utf8_length(words.codes), tf.cast(added, tf.int32))
        owner, nth = expand(lengths)
        code, length = tf.gather(words.codes, owner), tf.gather(lengths, owner)
        byte = utf8_byte(code, length, nth)
        codes = select(code < ADDED_TOKEN_BASE, tf.gather(self._chars, tf.minimum(byte, 255)), code)
        first = nth == 0
        starts = tf.gather(words.starts, owner)
        inside = (tf.gather(words.inside, owner) | starts) & ~(starts & first)
        row_splits = tf.gather(offsets(lengths), words.row_splits)
        return Words(codes, starts & first, inside, row_splits, gathered(words.spans, owner))


def byte_chars() -> list[int]:
    """The code point of the character that stands for each of the 256 bytes."""
    alphabet = {ord(char) for char in pre_tokenizers.ByteLevel.alphabet()}
    others = iter(sorted(code for code in alphabet if code > 0xFF))
    return [byte if byte in alphabet else next(others) for byte in range(256)]


def prepend(words: Words, before: tf.Tensor, code: int) -> Words:
    """Inserts `code` before each word start where `before`, bool [N], is true."""
    owner, nth = expand(1 + tf.cast(before, tf.int32))
    inserted = tf.gather(before, owner) & (nth == 0)
    moved = tf.gather(before, owner) & (nth > 0)
    codes = select(inserted, code, tf.gather(words.codes, owner))
    starts = tf.gather(words.starts, owner) & ~moved
    inside = tf.gather(words.inside, owner) | moved
    row_splits = tf.gather(offsets(1 + tf.cast(before, tf.int32)), words.row_splits)
    return Words(codes, starts, inside, row_splits, gathered(words.spans, owner))


def build_pre_tokenizer(parts: Sequence[Part], added_token_count: int) -> list[Step]:
    """The steps of a pre-tokenizer, in order.

    Raises:
        UnsupportedError: A step is not supported.
    """
    steps: list[Step] = []
    for config, step in parts:
        kind = config.take("type", str)
        steps.extend(_build(kind, config, step, added_token_count))
        config.finish()
    return steps


def isolated_code_points(parts: Sequence[Part]) -> frozenset[int]:
    """The code points that BertPreTokenizer, if there is one, makes words of their own."""
    steps = [step for config, step in parts if config.values["type"] == "BertPreTokenizer"]
    return frozenset(
        code
        for step in steps
        for code in np.flatnonzero(probe_pre_tokenizer(step) == ISOLATED).tolist()
    )


def _build(kind: str, config: ConfigFile, step: TokenizersPart, added: int) -> list[Step]:
    for key, allowed in (("behavior", _BEHAVIORS), ("prepend_scheme", _SCHEMES)):
        config.require(key, allowed)
    if kind in ("BertPreTokenizer", "WhitespaceSplit"):
        return [ByClass(probe_pre_tokenizer(step), added)]
    if kind == "Whitespace":
        return [Runs(added)]
    if kind == "Digits":
        individual = config.take("individual_digits", bool)
        digits = probe_pre_tokenizer(pre_tokenizers.Digits(individual_digits=True)) == ISOLATED
        return [SplitByClass(digits, added, "Isolated" if individual else "Contiguous")]
    if kind == "Punctuation":
        punctuation = probe_pre_tokenizer(pre_tokenizers.Punctuation("isolated")) == ISOLATED
        return [SplitByClass(punctuation, added, config.take("behavior", str))]
    if kind == "Metaspace":
        replacement, scheme = config.take("replacement", str), config.take("prepend_scheme", str)
        return [Metaspace(replacement, scheme, config.take("split", bool))]
    if kind == "ByteLevel":
        steps: list[Step] = []
        config.take("trim_offsets", bool)
        if config.take("add_prefix_space", bool):
            steps.append(
                lambda words: prepend(words, words.starts & (words.codes != ord(" ")), ord(" "))
            )
        if config.take("use_regex", bool):
            steps.append(Split(regex_pattern(GPT2, added), "Isolated", invert=False))
        return [*steps, ByteLevel()]
    pattern = read_pattern(config, added)
    return [Split(pattern, config.take("behavior", str), config.take("invert", bool))]
