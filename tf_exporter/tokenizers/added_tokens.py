"""Matching of added tokens in texts.

Follows `AddedVocabulary::find_matches` of `tokenizers` 0.23. Matches are leftmost-longest and do
not overlap. A match that is not allowed (single_word, split_special_tokens) is dropped, but no
other match may overlap it. lstrip and rstrip extend a match over the white space next to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    RaggedCodes,
    count,
    offsets,
    places,
    rarely,
    reachable,
    select,
    shift_right,
)
from tf_exporter.tokenizers.ops.spans import LEADING, covering, white_ends
from tf_exporter.tokenizers.ops.tables import CodePointTable, graph_constant
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.trimming import TrimmedCodes
from tf_exporter.tokenizers.unicode.probing import probe_word_and_space

_WORD, _SPACE = 1, 2


class AddedTokenPattern(NamedTuple):
    """An added token as it is matched in texts."""

    content: str
    number: int
    """Its place among the added tokens."""
    single_word: bool
    lstrip: bool
    rstrip: bool
    never: bool
    """Whether matches are dropped, because the tokenizer splits special tokens."""


class AddedTokenSplitter:
    """Replaces each match of a pattern by the one code of its added token."""

    def __init__(
        self, patterns: Sequence[AddedTokenPattern], added_token_count: int, trims: bool = False
    ) -> None:
        """`trims`: whether texts come with the spans of a tokenizer that trims offsets."""
        self._trimmed = TrimmedCodes(added_token_count) if trims else None
        contents = {pattern.content: index for index, pattern in enumerate(patterns)}
        self._symbols, self._trie = string_trie(contents, added_token_count)
        first = np.full(len({*"".join(contents)}) + 1, Trie.DEAD, np.int32)
        starting = self._trie.first_states(Trie.ROOT)
        first[: len(starting)] = starting
        self._first = graph_constant(first)
        self._numbers = graph_constant(np.array([pattern.number for pattern in patterns], np.int32))
        flags = {
            "single_word": [pattern.single_word for pattern in patterns],
            "lstrip": [pattern.lstrip for pattern in patterns],
            "rstrip": [pattern.rstrip for pattern in patterns],
            "never": [pattern.never for pattern in patterns],
        }
        self._flags = {
            name: graph_constant(np.array(values)) for name, values in flags.items() if any(values)
        }
        if self._flags.keys() - {"never"}:
            word, space = probe_word_and_space()
            self._classes = CodePointTable(
                np.concatenate(
                    [word * _WORD + space * _SPACE, np.zeros(added_token_count, np.int32)]
                )
            )

    def __call__(self, stream: RaggedCodes) -> RaggedCodes:
        """The stream with each match replaced; unchanged, at little cost, where there is none."""
        state = tf.gather(self._first, self._symbols(stream.codes))
        return rarely(tf.reduce_any(state > Trie.DEAD), lambda: self._split(stream, state), stream)

    def _split(self, stream: RaggedCodes, state: tf.Tensor) -> RaggedCodes:
        row = tf.cumsum(
            tf.scatter_nd(
                stream.row_splits[1:-1, tf.newaxis],
                tf.ones_like(stream.row_splits[1:-1]),
                [count(stream.codes) + 1],
            )
        )
        start = places(state > Trie.DEAD)
        best = self._match(stream, row, start, tf.gather(state, start))
        matched = best > Trie.DEAD
        start, best = tf.boolean_mask(start, matched), tf.boolean_mask(best, matched)
        end = start + tf.gather(self._trie.depth, best)
        chosen = _without_overlaps(start, end)
        start, end = tf.boolean_mask(start, chosen), tf.boolean_mask(end, chosen)
        pattern = tf.gather(self._trie.value, tf.boolean_mask(best, chosen))
        limits = (
            tf.gather(stream.row_splits, tf.gather(row, start)),
            tf.gather(stream.row_splits, tf.gather(row, start) + 1),
        )
        start, end, pattern, limits = self._refuse(stream, start, end, pattern, limits)
        start, end = self._strip(stream, start, end, pattern, limits)
        # A match of white space is empty if rstrip extended the previous match over it.
        nonempty = start < end
        start, end, pattern = (tf.boolean_mask(part, nonempty) for part in (start, end, pattern))
        return self._replace(stream, start, end, tf.gather(self._numbers, pattern))

    def _match(
        self, stream: RaggedCodes, row: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tf.Tensor:
        """The trie state of the longest pattern at each `start`; `DEAD` where none matches."""
        symbols = tf.concat([self._symbols(stream.codes), [0]], 0)
        length = count(stream.codes)
        limit = tf.gather(stream.row_splits, tf.gather(row, start) + 1)

        def advance(step: tf.Tensor, state: tf.Tensor, deepest: tf.Tensor) -> tuple[tf.Tensor, ...]:
            symbol = tf.gather(symbols, select(start + step < limit, start + step, length))
            return step + 1, *self._trie.deeper(state, deepest, symbol)

        *_, deepest = tf.while_loop(
            lambda step, state, _: (step < self._trie.max_depth) & tf.reduce_any(state > Trie.DEAD),
            advance,
            (tf.constant(1), state, state),
            parallel_iterations=1,
        )
        return tf.gather(self._trie.longest_word, deepest)

    def _refuse(
        self,
        stream: RaggedCodes,
        start: tf.Tensor,
        end: tf.Tensor,
        pattern: tf.Tensor,
        limits: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Drops the matches that their flags do not allow."""
        kept = tf.ones_like(start, tf.bool)
        if "never" in self._flags:
            kept &= ~tf.gather(self._flags["never"], pattern)
        if "single_word" in self._flags:
            is_word = tf.concat(
                [[False], tf.bitwise.bitwise_and(self._classes(stream.codes), _WORD) > 0, [False]],
                0,
            )
            before = (start > limits[0]) & tf.gather(is_word, start)
            after = (end < limits[1]) & tf.gather(is_word, end + 1)
            kept &= ~(tf.gather(self._flags["single_word"], pattern) & (before | after))
        start, end, pattern, low, high = (
            tf.boolean_mask(part, kept) for part in (start, end, pattern, *limits)
        )
        return start, end, pattern, (low, high)

    def _strip(
        self,
        stream: RaggedCodes,
        start: tf.Tensor,
        end: tf.Tensor,
        pattern: tf.Tensor,
        limits: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Extends matches over white space, on the left only up to the end of the match before."""
        if not self._flags.keys() & {"lstrip", "rstrip"}:
            return start, end
        solid = tf.bitwise.bitwise_and(self._classes(stream.codes), _SPACE) == 0
        # position[k]: the index of the k-th code that is not white space, with k from 1.
        position = tf.concat([[-1], places(solid), [count(solid)]], 0)
        before = offsets(tf.cast(solid, tf.int32))
        if "rstrip" in self._flags:
            stripped = tf.minimum(tf.gather(position, tf.gather(before, end) + 1), limits[1])
            end = select(tf.gather(self._flags["rstrip"], pattern), stripped, end)
        if "lstrip" in self._flags:
            stripped = tf.maximum(tf.gather(position, tf.gather(before, start)) + 1, limits[0])
            stripped = tf.maximum(stripped, shift_right(end, first=0)[: count(start)])
            start = select(tf.gather(self._flags["lstrip"], pattern), stripped, start)
        return start, end

    def _replace(
        self, stream: RaggedCodes, start: tf.Tensor, end: tf.Tensor, number: tf.Tensor
    ) -> RaggedCodes:
        """Puts each added token's code at the start of its match, without the rest of the match."""
        length = count(stream.codes)
        marks = tf.scatter_nd(start[:, tf.newaxis], tf.ones_like(start), [length])
        latest = tf.cumsum(marks)
        covered = tf.range(length) < tf.gather(tf.concat([[0], end], 0), latest)
        kept = ~covered | (marks > 0)
        codes = tf.tensor_scatter_nd_update(
            stream.codes, start[:, tf.newaxis], number + ADDED_TOKEN_BASE
        )
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), stream.row_splits)
        spans = stream.spans
        if spans is not None:
            spans = tf.tensor_scatter_nd_update(
                spans, start[:, tf.newaxis], self._match_spans(stream, start, end - 1)
            )
            spans = tf.boolean_mask(spans, kept)
        return RaggedCodes(tf.boolean_mask(codes, kept), row_splits, spans)

    def _match_spans(self, stream: RaggedCodes, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """The span of each match, with the white space at its ends: int32 [matches, 2 or 4]."""
        assert stream.spans is not None
        spans = covering(stream.spans, first, last)
        if self._trimmed is None:
            return spans
        ends = white_ends(self._trimmed(stream.codes), first, last)
        return tf.concat([spans[:, :LEADING], tf.stack(ends, 1)], 1)


def _without_overlaps(start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Bool [matches], sorted by start: whether a search from the left would take the match."""
    return reachable(tf.range(count(start)) == 0, tf.searchsorted(start, end))
