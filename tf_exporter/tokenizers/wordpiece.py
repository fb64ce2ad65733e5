"""The WordPiece model of Hugging Face `tokenizers`: greedy longest match first, for all words at once.

Every position walks the vocabulary's trie in parallel, as the start of a piece; then the chain of pieces is followed
from every word's start. The number of steps depends on the vocabulary and the longest word allowed, not on the text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.pre_tokenizers import Words
from tf_exporter.tokenizers.spec import WordPieceSpec
from tf_exporter.tokenizers.stream import count, offsets, places
from tf_exporter.tokenizers.tables import UNICODE_SIZE, Trie, graph_constant

_DENSE_STEPS = 4
"""Walks that outlive these steps are few: from there on only they are carried."""


class Tokens(NamedTuple):
    """`ids` int32 [T] of all texts, `row_splits` int32 [batch + 1]."""

    ids: tf.Tensor
    row_splits: tf.Tensor


class WordPiece:
    """Words → token ids, as `tokenizers.models.WordPiece` 0.23."""

    def __init__(self, spec: WordPieceSpec) -> None:
        self.unk_id = spec.vocab[spec.unk_token]
        self.max_input_chars_per_word = spec.max_input_chars_per_word
        # A longer token never matches, as its word is unknown before it is looked up.
        longest = spec.max_input_chars_per_word + len(spec.continuing_subword_prefix)
        vocab = {token: id for token, id in spec.vocab.items() if token and len(token) <= longest}
        alphabet = sorted({ord(char) for token in vocab for char in token})
        symbols = {code: symbol for symbol, code in enumerate(alphabet, start=1)}
        self.symbols = np.zeros(UNICODE_SIZE, np.int32)
        self.symbols[alphabet] = np.arange(1, len(alphabet) + 1)
        prefix = tuple(symbols.get(ord(char), 0) for char in spec.continuing_subword_prefix)
        self._trie = Trie({tuple(symbols[ord(char)] for char in token): id for token, id in vocab.items()}, prefix)
        self._prefix_length = len(prefix)
        starting = self._trie.first_states(Trie.ROOT)
        continuing = self._trie.first_states(self._trie.prefix_state)
        first = np.full((max(len(alphabet) + 1, len(starting)), 2), Trie.DEAD, np.int32)
        first[: len(starting), 0] = continuing
        first[: len(starting), 1] = starting
        self._first = graph_constant(first.reshape(-1))

    def __call__(self, words: Words) -> Tokens:
        """Splits every word into pieces; a word that cannot be, or is too long, becomes the unknown token."""
        best = self._longest_pieces(words)
        # The trie counts the prefix's characters too, which a continuing piece does not consume.
        length = tf.gather(self._trie.depth, best) - tf.where(words.starts, 0, self._prefix_length)
        reached, unknown = self._follow(words, best, length)
        unknown = tf.concat([[False], unknown | (words.lengths > self.max_input_chars_per_word)], 0)
        in_unknown = tf.gather(unknown, tf.cumsum(tf.cast(words.starts, tf.int32)))
        emitted = (reached & ~in_unknown) | (words.starts & in_unknown) | (words.added_token >= 0)
        kept = places(emitted)
        ids = tf.where(in_unknown, self.unk_id, tf.gather(self._trie.value, best))
        ids = tf.where(words.added_token >= 0, words.added_token, ids)
        splits = tf.gather(offsets(tf.cast(emitted, tf.int32)), words.row_splits)
        return Tokens(tf.gather(ids, kept), splits)

    def _longest_pieces(self, words: Words) -> tf.Tensor:
        """int32 [N]: the trie state of the longest piece that starts at each position, `DEAD` where there is none."""
        length = count(words.symbols)
        padded = tf.pad(tf.where(words.starts, 0, words.symbols), [[0, _DENSE_STEPS + 1]])
        state = tf.gather(self._first, words.symbols * 2 + tf.cast(words.starts, tf.int32))
        best = tf.fill([length], Trie.DEAD)
        for step in range(1, min(_DENSE_STEPS, self._trie.max_depth) + 1):
            state, best = self._trie.advance(state, best, padded[step : step + length])
        if self._trie.max_depth <= _DENSE_STEPS:
            return best
        alive = tf.cast(tf.where(state > Trie.DEAD), tf.int32)
        index = alive[:, 0]
        padded = padded[: length + 1]
        following = tf.while_loop(
            lambda step, state, best: (step <= self._trie.max_depth) & tf.reduce_any(state > Trie.DEAD),
            lambda step, state, best: (
                step + 1,
                *self._trie.advance(state, best, tf.gather(padded, tf.minimum(index + step, length))),
            ),
            (tf.constant(_DENSE_STEPS + 1), tf.gather(state, index), tf.gather(best, index)),
            parallel_iterations=1,
        )
        return tf.tensor_scatter_nd_update(best, alive, following[2])

    def _follow(self, words: Words, best: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Follows the pieces from each word's start: (bool [N] a piece starts here, bool [W] the word is unknown)."""
        size = count(best)
        word_count = count(words.positions)
        inside = tf.concat([words.inside, [False]], 0)

        def more(step: tf.Tensor, position: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return (count(position) > 0) & (step < self.max_input_chars_per_word)

        def one_piece(
            step: tf.Tensor, position: tf.Tensor, word: tf.Tensor, reached: tf.Tensor, unknown: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            reached = tf.tensor_scatter_nd_update(reached, position[:, tf.newaxis], tf.ones_like(position, tf.bool))
            matched = tf.gather(best, position) > Trie.DEAD
            unknown = tf.tensor_scatter_nd_update(unknown, word[:, tf.newaxis], ~matched)
            position = tf.where(matched, position + tf.gather(length, position), size)
            going = tf.gather(inside, position)
            kept = places(going)
            return step + 1, tf.gather(position, kept), tf.gather(word, kept), reached, unknown

        unmarked = tf.zeros([size], tf.bool), tf.zeros([word_count], tf.bool)
        *_, reached, unknown = tf.while_loop(
            more,
            one_piece,
            (tf.constant(0), words.positions, tf.range(word_count), *unmarked),
            shape_invariants=tuple(tf.TensorShape(shape) for shape in ([], [None], [None], [None], [None])),
            parallel_iterations=1,
        )
        return reached, unknown
