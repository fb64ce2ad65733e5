"""Added tokens: found in the text first, before anything else is done to it.

As `AddedVocabulary::find_matches` of `tokenizers` 0.23 does: leftmost-longest matches that do not overlap; those that may
not stand here (single_word, split_special_tokens) are passed over, yet consume their text; lstrip and rstrip take the
white space beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.double_arrays import Trie
from tf_exporter.tokenizers.probing import probe_word_and_space
from tf_exporter.tokenizers.stream import ADDED_TOKEN_BASE, Stream, count, offsets, places, rarely, reachable, select, shift_right
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable, graph_constant

_WORD, _SPACE = 1, 2


class Pattern:
    """A text to be found (its code points), the number of its added token, and the token's flags."""

    def __init__(
        self, codes: tuple[int, ...], number: int, *, single_word: bool, lstrip: bool, rstrip: bool, never: bool
    ) -> None:
        self.codes, self.number = codes, number
        self.single_word, self.lstrip, self.rstrip, self.never = single_word, lstrip, rstrip, never


class AddedTokenSplitter:
    """Replaces each occurrence of a pattern by the one code of its added token."""

    def __init__(self, patterns: Sequence[Pattern], added_token_count: int) -> None:
        alphabet = sorted({code for pattern in patterns for code in pattern.codes})
        symbols = {code: symbol for symbol, code in enumerate(alphabet, start=1)}
        table = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
        table[alphabet] = np.arange(1, len(alphabet) + 1)
        self._symbols = CodePointTable(table)
        words = {tuple(symbols[code] for code in pattern.codes): at for at, pattern in enumerate(patterns)}
        self._trie = Trie(words)
        first = np.full(len(alphabet) + 1, Trie.DEAD, np.int32)
        starting = self._trie.first_states(Trie.ROOT)
        first[: len(starting)] = starting
        self._first = graph_constant(first)
        self._numbers = graph_constant(np.array([pattern.number for pattern in patterns], np.int32))
        self._flags = {
            name: graph_constant(np.array([getattr(pattern, name) for pattern in patterns]))
            for name in ("single_word", "lstrip", "rstrip", "never")
            if any(getattr(pattern, name) for pattern in patterns)
        }
        if self._flags.keys() - {"never"}:
            word, space = probe_word_and_space()
            self._classes = CodePointTable(np.concatenate([word * _WORD + space * _SPACE, np.zeros(added_token_count, np.int32)]))

    def __call__(self, stream: Stream) -> Stream:
        """The stream with each occurrence replaced; untouched and cheap where there is none."""
        state = tf.gather(self._first, self._symbols(stream.codes))
        return rarely(tf.reduce_any(state > Trie.DEAD), lambda: self._split(stream, state), stream)

    def _split(self, stream: Stream, state: tf.Tensor) -> Stream:
        row = tf.cumsum(
            tf.scatter_nd(stream.row_splits[1:-1, tf.newaxis], tf.ones_like(stream.row_splits[1:-1]), [count(stream.codes) + 1])
        )
        start = places(state > Trie.DEAD)
        best = self._match(stream, row, start, tf.gather(state, start))
        found = best > Trie.DEAD
        start, best = tf.boolean_mask(start, found), tf.boolean_mask(best, found)
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
        # White space that the match before took already leaves nothing of a match that is white space itself.
        left = start < end
        start, end, pattern = (tf.boolean_mask(of, left) for of in (start, end, pattern))
        return self._replace(stream, start, end, tf.gather(self._numbers, pattern))

    def _match(self, stream: Stream, row: tf.Tensor, start: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The trie state of the longest pattern at each `start`, `DEAD` where there is none."""
        symbols = tf.concat([self._symbols(stream.codes), [0]], 0)
        length = count(stream.codes)
        limit = tf.gather(stream.row_splits, tf.gather(row, start) + 1)

        def one(step: tf.Tensor, state: tf.Tensor, deepest: tf.Tensor) -> tuple[tf.Tensor, ...]:
            symbol = tf.gather(symbols, select(start + step < limit, start + step, length))
            return step + 1, *self._trie.deeper(state, deepest, symbol)

        *_, deepest = tf.while_loop(
            lambda step, state, _: (step < self._trie.max_depth) & tf.reduce_any(state > Trie.DEAD),
            one,
            (tf.constant(1), state, state),
            parallel_iterations=1,
        )
        return tf.gather(self._trie.longest_word, deepest)

    def _refuse(
        self,
        stream: Stream,
        start: tf.Tensor,
        end: tf.Tensor,
        pattern: tf.Tensor,
        limits: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Drops matches that may not stand where they are."""
        kept = tf.ones_like(start, tf.bool)
        if "never" in self._flags:
            kept &= ~tf.gather(self._flags["never"], pattern)
        if "single_word" in self._flags:
            is_word = tf.concat([[False], tf.bitwise.bitwise_and(self._classes(stream.codes), _WORD) > 0, [False]], 0)
            before = (start > limits[0]) & tf.gather(is_word, start)
            after = (end < limits[1]) & tf.gather(is_word, end + 1)
            kept &= ~(tf.gather(self._flags["single_word"], pattern) & (before | after))
        start, end, pattern, low, high = (tf.boolean_mask(of, kept) for of in (start, end, pattern, *limits))
        return start, end, pattern, (low, high)

    def _strip(
        self,
        stream: Stream,
        start: tf.Tensor,
        end: tf.Tensor,
        pattern: tf.Tensor,
        limits: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Widens matches over white space: to the right as far as it goes, to the left as far as the match before."""
        if not self._flags.keys() & {"lstrip", "rstrip"}:
            return start, end
        solid = tf.bitwise.bitwise_and(self._classes(stream.codes), _SPACE) == 0
        place = tf.concat([[-1], places(solid), [count(solid)]], 0)
        # place[k] is where the k-th code that is no white space stands, from 1.
        before = offsets(tf.cast(solid, tf.int32))
        if "rstrip" in self._flags:
            stripped = tf.minimum(tf.gather(place, tf.gather(before, end) + 1), limits[1])
            end = select(tf.gather(self._flags["rstrip"], pattern), stripped, end)
        if "lstrip" in self._flags:
            stripped = tf.maximum(tf.gather(place, tf.gather(before, start)) + 1, limits[0])
            stripped = tf.maximum(stripped, shift_right(end, first=0)[: count(start)])
            start = select(tf.gather(self._flags["lstrip"], pattern), stripped, start)
        return start, end

    def _replace(self, stream: Stream, start: tf.Tensor, end: tf.Tensor, number: tf.Tensor) -> Stream:
        """Puts an added token's code at its start and drops the rest of its match."""
        length = count(stream.codes)
        marks = tf.scatter_nd(start[:, tf.newaxis], tf.ones_like(start), [length])
        latest = tf.cumsum(marks)
        covered = tf.range(length) < tf.gather(tf.concat([[0], end], 0), latest)
        kept = ~covered | (marks > 0)
        codes = tf.tensor_scatter_nd_update(stream.codes, start[:, tf.newaxis], number + ADDED_TOKEN_BASE)
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), stream.row_splits)
        return Stream(tf.boolean_mask(codes, kept), row_splits)


def _without_overlaps(start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Which of the matches (sorted by start) a search from the left takes: each the first from the end of the last."""
    return reachable(tf.range(count(start)) == 0, tf.searchsorted(start, end))
