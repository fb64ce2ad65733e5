"""Normalizers that treat each code point by itself, and put combining marks into canonical order.

What becomes of a code point was asked of the installed `tokenizers` (see probing.py): the reference's own Unicode tables
and quirks come along. Covers BertNormalizer, Lowercase, NFD, NFKD, StripAccents, Nmt, replacing one character, and most
sequences of them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.probing import NormalizerTables
from tf_exporter.tokenizers.stream import Stream, expand, offsets, rarely, row_starts, select
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable, graph_constant

_SELF = -1
"""In a replacement: the code point itself."""


class CodePointNormalizer:
    """Replaces each code point by its sequence of code points; added tokens stay as they are."""

    def __init__(self, tables: NormalizerTables, added_token_count: int) -> None:
        replacements: dict[tuple[int, ...], int] = {}
        pool: list[int] = []
        packed = np.zeros(UNICODE_SIZE + added_token_count, np.int64)

        self._length_bits = bits = max((1, *map(len, tables.changed.values()))).bit_length()

        def place(replacement: tuple[int, ...]) -> int:
            if replacement not in replacements:
                replacements[replacement] = len(pool) << (bits + 1) | len(replacement) << 1
                pool.extend(replacement)
            return replacements[replacement]

        packed[:] = place((_SELF,))
        for code, output in tables.changed.items():
            packed[code] = place(tuple(_SELF if char == code else char for char in output))
        packed[sorted(tables.reordered)] |= 1
        self._packed = CodePointTable(packed.astype(np.int32))
        # One more, where what becomes nothing may point.
        self._pool = graph_constant(np.array([*pool, _SELF], np.int32))
        self._reorders = bool(tables.ranks)
        if self._reorders:
            ranks = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
            for code, rank in tables.ranks.items():
                ranks[code] = rank
            breaking = np.ones(UNICODE_SIZE + added_token_count, np.int32)
            breaking[sorted(tables.transparent)] = 0
            self._ranks = CodePointTable(ranks)
            self._breaking = CodePointTable(breaking)

    def __call__(self, stream: Stream) -> Stream:
        """The normalized stream, cheap where each code becomes one and none is moved."""
        packed = self._packed(stream.codes)
        one_each = tf.bitwise.bitwise_and(packed, (2 << self._length_bits) - 1) == 1 << 1
        codes = self._replaced(stream.codes, tf.bitwise.right_shift(packed, self._length_bits + 1))
        others = tf.reduce_any(~one_each)
        return Stream(*rarely(others, lambda: tuple(self._general(stream, packed)), (codes, stream.row_splits)))

    def _replaced(self, codes: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        """What stands at places of the pool, for these codes; int32 [N] each."""
        replaced = tf.gather(self._pool, at)
        return select(replaced == _SELF, codes, replaced)

    def _general(self, stream: Stream, packed: tf.Tensor) -> Stream:
        bits, mask = self._length_bits, (1 << self._length_bits) - 1
        lengths = tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed, 1), mask)
        owner, nth = expand(lengths, bits)
        start = tf.bitwise.right_shift(tf.gather(packed, owner), bits + 1)
        codes = self._replaced(tf.gather(stream.codes, owner), start + nth)
        normalized = Stream(codes, tf.gather(offsets(lengths), stream.row_splits))
        if not self._reorders:
            return normalized
        unordered = tf.reduce_any(tf.bitwise.bitwise_and(packed, 1) > 0)
        return normalized._replace(codes=rarely(unordered, lambda: self._reorder(stream, normalized, owner), codes))

    def _reorder(self, source: Stream, normalized: Stream, owner: tf.Tensor) -> tf.Tensor:
        """Sorts the marks between two starters by combining class; marks that were dropped still order the rest.

        `owner`: the place in `source` that each normalized code came from. A dropped starter ends a run as well,
        which only `source` shows.
        """
        ranks = self._ranks(normalized.codes)
        starters = tf.cumsum(self._breaking(source.codes))
        dropped_starter = tf.gather(starters, owner)
        dropped_starter = tf.concat([[False], dropped_starter[1:] != dropped_starter[:-1]], 0)
        ends_run = (ranks == 0) | dropped_starter | row_starts(normalized)
        run = tf.cumsum(tf.cast(ends_run, tf.int32))
        key = tf.cast(run, tf.int64) * 256 + tf.cast(ranks, tf.int64)
        return tf.gather(normalized.codes, tf.argsort(key, stable=True))
