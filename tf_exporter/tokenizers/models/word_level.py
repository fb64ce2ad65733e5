"""The WordLevel model of Hugging Face `tokenizers`: every word is a token or unknown."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    Tokens,
    added_token_ids,
    count,
    places,
    select,
)
from tf_exporter.tokenizers.ops.spans import covering
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, word_ends
from tf_exporter.tokenizers.spec import WordLevelSpec


class WordLevel:
    """Words → token ids."""

    def __init__(self, spec: WordLevelSpec, added_token_ids: list[int]) -> None:
        self._symbols, self._trie = string_trie(
            {token: id for token, id in spec.vocab.items() if token}, len(added_token_ids)
        )
        self._unk_id = spec.vocab[spec.unk_token]
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))

    def __call__(self, words: Words) -> Tokens:
        start = places(words.starts)
        end = tf.gather(word_ends(words), start)
        symbols = tf.concat([self._symbols(words.codes), [0]], 0)
        state = self._trie.start(tf.gather(symbols, start))
        # Words that have ended keep their state; the others go on.
        _, state = tf.while_loop(
            lambda step, state: tf.reduce_any((start + step < end) & (state > Trie.DEAD)),
            lambda step, state: (step + 1, self._walk(state, symbols, start + step, end)),
            (tf.constant(1), state),
            parallel_iterations=1,
        )
        ids = tf.gather(self._trie.value, state)
        ids = select(ids >= 0, ids, self._unk_id)
        added = places(words.codes >= ADDED_TOKEN_BASE)
        ids = tf.concat(
            [ids, added_token_ids(tf.gather(words.codes, added), self._added_token_ids)], 0
        )
        place = tf.concat([start, added], 0)
        order = tf.argsort(place)
        place = tf.gather(place, order)
        spans = None
        if words.spans is not None:
            last = tf.gather(word_ends(words), place) - 1
            spans = covering(words.spans, place, last)
        row_splits = tf.searchsorted(place, words.row_splits)
        return Tokens(tf.gather(ids, order), row_splits, spans=spans)

    def _walk(
        self, state: tf.Tensor, symbols: tf.Tensor, position: tf.Tensor, end: tf.Tensor
    ) -> tf.Tensor:
        following = self._trie.advance(
            state, tf.gather(symbols, tf.minimum(position, count(symbols) - 1))
        )
        return select(position < end, following, state)
