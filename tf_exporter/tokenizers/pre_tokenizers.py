"""Pre-tokenizers: where words start and end, from a class of each code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.stream import ADDED_TOKEN_BASE, Stream, count, offsets, places, row_starts, shift_right
from tf_exporter.tokenizers.tables import CodePointTable, graph_constant

INSIDE, REMOVED, ISOLATED, ADDED = range(4)
"""Classes of a code: part of a word, dropped between words, a word of its own, an added token."""


class Words(NamedTuple):
    """The stream cut into words. Fields are int32 [N] or bool [N] where nothing else is said."""

    symbols: tf.Tensor
    """The model's symbol of each code; 0 outside words and for codes unknown to the model."""
    starts: tf.Tensor
    """Whether a word starts here; an added token is no word."""
    positions: tf.Tensor
    """int32 [words]: where the words start."""
    inside: tf.Tensor
    """Whether the word of the previous element goes on here."""
    lengths: tf.Tensor
    """int32 [words]: the number of codes of each word."""
    added_token: tf.Tensor
    """The id where an added token stands, else −1."""
    row_splits: tf.Tensor
    """int32 [batch + 1]"""


class PreTokenizer:
    """Cuts by code classes: BertPreTokenizer, and any other that removes and isolates single code points."""

    def __init__(self, classes: np.ndarray, symbols: np.ndarray, added_token_ids: list[int]) -> None:
        """`classes`, `symbols` [UNICODE_SIZE]: the class and the model's symbol of each code point."""
        packed = np.where(classes == REMOVED, 0, symbols) * 4 + classes
        self._table = CodePointTable(np.concatenate([packed, np.full(len(added_token_ids), ADDED)]))
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))

    def __call__(self, stream: Stream) -> Words:
        """The stream with the words marked in it."""
        packed = self._table(stream.codes)
        symbols = tf.bitwise.right_shift(packed, 2)
        code_class = tf.bitwise.bitwise_and(packed, 3)
        alone = code_class > REMOVED
        in_word = (code_class == INSIDE) | (code_class == ISOLATED)
        # A word starts after anything that is not the inside of a word, and at every isolated code.
        breaks = row_starts(stream) | alone | shift_right(code_class > INSIDE, first=True)
        starts = in_word & breaks
        positions = places(starts)
        before = offsets(tf.cast(in_word, tf.int32))
        lengths = tf.gather(before, tf.concat([positions[1:], count(starts)[tf.newaxis]], 0)[: count(positions)])
        lengths -= tf.gather(before, positions)
        added_token = tf.gather(
            self._added_token_ids,
            tf.where(code_class == ADDED, stream.codes - ADDED_TOKEN_BASE, count(self._added_token_ids) - 1),
        )
        return Words(symbols, starts, positions, in_word & ~breaks, lengths, added_token, stream.row_splits)
