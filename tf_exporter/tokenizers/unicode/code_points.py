"""Normalizers that map each code point by itself and sort combining marks into canonical order.

The maps are probed from the installed `tokenizers` (see probing.py), so they have the Unicode
version and the quirks of the reference. Covers BertNormalizer, Lowercase, NFD, NFKD, StripAccents,
Nmt, Replace of one character, and most sequences of them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    RaggedCodes,
    expand,
    offsets,
    rarely,
    row_starts,
    select,
    shift_right,
)
from tf_exporter.tokenizers.ops.spans import gathered
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable, graph_constant
from tf_exporter.tokenizers.unicode.probing import NormalizerTables

_SELF = -1
"""Stands for the code point itself in its replacement."""


class CodePointNormalizer:
    """Replaces each code point by a sequence of code points; added tokens stay as they are."""

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
        # The last element gives an empty replacement at the end a valid index.
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

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        """The normalized texts; fast where each code becomes one code and no mark moves."""
        packed = self._packed(texts.codes)
        one_each = tf.bitwise.bitwise_and(packed, (2 << self._length_bits) - 1) == 1 << 1
        codes = self._replaced(texts.codes, tf.bitwise.right_shift(packed, self._length_bits + 1))
        others = tf.reduce_any(~one_each)
        return rarely(others, lambda: self._general(texts, packed), texts._replace(codes=codes))

    def _replaced(self, codes: tf.Tensor, pool_index: tf.Tensor) -> tf.Tensor:
        """The code at each index of the pool, or the old code for `_SELF`; int32 [N] each."""
        replaced = tf.gather(self._pool, pool_index)
        return select(replaced == _SELF, codes, replaced)

    def _general(self, texts: RaggedCodes, packed: tf.Tensor) -> RaggedCodes:
        bits, mask = self._length_bits, (1 << self._length_bits) - 1
        lengths = tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed, 1), mask)
        owner, nth = expand(lengths, bits)
        start = tf.bitwise.right_shift(tf.gather(packed, owner), bits + 1)
        codes = self._replaced(tf.gather(texts.codes, owner), start + nth)
        normalized = RaggedCodes(
            codes, tf.gather(offsets(lengths), texts.row_splits), gathered(texts.spans, owner)
        )
        if not self._reorders:
            return normalized
        unordered = tf.reduce_any(tf.bitwise.bitwise_and(packed, 1) > 0)
        codes, spans = rarely(
            unordered,
            lambda: self._reorder(texts, normalized, owner),
            (codes, normalized.spans),
        )
        return normalized._replace(codes=codes, spans=spans)

    def _reorder(
        self, source: RaggedCodes, normalized: RaggedCodes, owner: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The codes with the marks between two starters sorted by combining class, and the spans.

        A dropped starter still ends a run of marks, and only `source` shows it. `owner`: the index
        in `source` that each normalized code came from, int32.

        The spans are right only where no code is dropped, as in NFD and NFKD. In `tokenizers`, the
        first code of each decomposition takes the next span in the order of the text, however
        marks are sorted. Other codes have the span of the code before them.
        """
        ranks = self._ranks(normalized.codes)
        starters = tf.cumsum(self._breaking(source.codes))
        dropped_starter = tf.gather(starters, owner)
        dropped_starter = tf.concat([[False], dropped_starter[1:] != dropped_starter[:-1]], 0)
        ends_run = (ranks == 0) | dropped_starter | row_starts(normalized)
        run = tf.cumsum(tf.cast(ends_run, tf.int32))
        key = tf.cast(run, tf.int64) * 256 + tf.cast(ranks, tf.int64)
        order = tf.argsort(key, stable=True)
        spans = None
        if source.spans is not None:
            first = owner != shift_right(owner, first=-1)
            taken = tf.cumsum(tf.cast(tf.gather(first, order), tf.int32))
            spans = tf.gather(source.spans, taken - 1)
        return tf.gather(normalized.codes, order), spans
