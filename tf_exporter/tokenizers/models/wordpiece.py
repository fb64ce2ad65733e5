"""The WordPiece model of Hugging Face `tokenizers`: longest match first, for all words at once.

All positions walk the trie of the vocabulary in parallel, each as the start of a piece. Then the
chain of pieces is followed from the start of every word. The number of steps is bounded by the
vocabulary and the longest word allowed.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    Tokens,
    added_token_ids,
    count,
    places,
    rarely,
    select,
    shift_left,
)
from tf_exporter.tokenizers.ops.spans import covering
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, word_ends
from tf_exporter.tokenizers.spec import WordPieceSpec
from tf_exporter.tokenizers.templates import LARGEST_INT


class WordPiece:
    """Words → token ids, as `tokenizers.models.WordPiece` 0.23."""

    def __init__(self, spec: WordPieceSpec, added_token_ids: list[int]) -> None:
        self.unk_id = spec.vocab[spec.unk_token]
        self.max_input_chars_per_word = spec.max_input_chars_per_word
        # A longer token never matches, as its word is unknown before it is looked up.
        longest = spec.max_input_chars_per_word + len(spec.continuing_subword_prefix)
        vocab = {token: id for token, id in spec.vocab.items() if token and len(token) <= longest}
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))
        prefix = spec.continuing_subword_prefix
        self._symbols, self._trie = string_trie(vocab, len(added_token_ids), prefix)
        self._prefix_length = len(prefix)
        starting = self._trie.first_states(Trie.ROOT)
        continuing = self._trie.first_states(self._trie.prefix_state)
        self._first = graph_constant(np.stack([continuing, starting], 1).reshape(-1))

    def __call__(self, words: Words) -> Tokens:
        """Splits words into pieces; words that have no split or are too long become unknown."""
        start = places(words.starts)
        best = self._longest_pieces(words)
        # The trie counts the prefix's characters too, which a continuing piece does not consume.
        length = tf.gather(self._trie.depth, best) - select(words.starts, 0, self._prefix_length)
        reached, unknown = self._follow(start, words, best, length)
        limit = self.max_input_chars_per_word
        # No word is too long in a batch with no more codes than the limit.
        unknown = rarely(
            count(words.codes) > limit,
            lambda: unknown | (tf.gather(word_ends(words), start) - start > limit),
            unknown,
        )
        unknown = tf.concat([[False], unknown], 0)
        in_unknown = tf.gather(unknown, tf.cumsum(tf.cast(words.starts, tf.int32)))
        added = words.codes >= ADDED_TOKEN_BASE
        emitted = (reached & ~in_unknown) | (words.starts & in_unknown) | added
        kept = places(emitted)
        ids = select(in_unknown, self.unk_id, tf.gather(self._trie.value, best))
        ids = select(added, added_token_ids(words.codes, self._added_token_ids), ids)
        word_starts = tf.gather(words.starts | added, kept)
        spans = None
        if words.spans is not None:
            # A token goes on to the next one, or to the end of its word.
            limit = tf.gather(word_ends(words), kept)
            end = tf.minimum(shift_left(kept, last=LARGEST_INT), limit)
            spans = covering(words.spans, kept, end - 1)
        row_splits = tf.searchsorted(kept, words.row_splits)
        return Tokens(tf.gather(ids, kept), row_splits, word_starts, spans)

    def _longest_pieces(self, words: Words) -> tf.Tensor:
        """The trie state of the longest piece from each position, or `DEAD`: int32 [N]."""
        symbols = self._symbols(words.codes)
        going = select(words.inside, symbols, 0)
        state = tf.gather(self._first, select(words.starts, symbols * 2 + 1, going * 2))
        return self._trie.longest(state, going)

    def _follow(
        self, start: tf.Tensor, words: Words, best: tf.Tensor, length: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Whether a piece starts at each code, and whether each word is unknown; bool [N], [W]."""
        size = count(best)
        inside = tf.concat([words.inside, [False]], 0)

        def next_piece(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Whether a piece starts at each position, and where it ends."""
            pieces = tf.gather(length, position)
            matched = pieces > 0
            return matched, select(matched, position + pieces, size)

        def more(step: tf.Tensor, position: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return (count(position) > 0) & (step < self.max_input_chars_per_word)

        def one_piece(
            step: tf.Tensor,
            position: tf.Tensor,
            word: tf.Tensor,
            reached: tf.Tensor,
            unknown: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            reached = tf.tensor_scatter_nd_update(
                reached, position[:, tf.newaxis], tf.ones_like(position, tf.bool)
            )
            matched, end = next_piece(position)
            unknown = tf.tensor_scatter_nd_update(unknown, word[:, tf.newaxis], ~matched)
            kept = places(tf.gather(inside, end))
            return step + 1, tf.gather(end, kept), tf.gather(word, kept), reached, unknown

        # The first step is for all words; it is the last one for most of them.
        matched, end = next_piece(start)
        word = places(tf.gather(inside, end))
        *_, reached, unknown = tf.while_loop(
            more,
            one_piece,
            (tf.constant(1), tf.gather(end, word), word, words.starts, ~matched),
            shape_invariants=tuple(
                tf.TensorShape(shape) for shape in ([], [None], [None], [None], [None])
            ),
            parallel_iterations=1,
        )
        return reached, unknown
