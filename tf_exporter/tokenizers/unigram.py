"""The Unigram model of Hugging Face `tokenizers`: the best segmentation of every word, all words at once.

As `Unigram::encode_optimized` of `tokenizers` 0.23: sums in float64, from left to right; of equal sums the longest last
piece wins; a character without a piece of its own counts as unknown, at the lowest score less 10; neighbouring unknown
ones become one token, or their bytes.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.double_arrays import Trie
from tf_exporter.tokenizers.pre_tokenizers import Words, word_ends
from tf_exporter.tokenizers.spec import UnigramSpec
from tf_exporter.tokenizers.stream import ADDED_TOKEN_BASE, Tokens, added_token_ids, count, offsets, places, reachable
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable, graph_constant

_UNKNOWN_PENALTY = 10.0
_SHORT, _LONG = 8, 32
"""Characters a round of the search takes: while most words go on, and when only long ones are left."""
_SHORT_ROUNDS = 4


class Unigram:
    """Words → token ids."""

    def __init__(self, spec: UnigramSpec, added_token_ids: list[int]) -> None:
        pieces = {piece: id for id, (piece, _) in enumerate(spec.pieces) if piece}
        alphabet = sorted({char for piece in pieces for char in piece})
        symbols = {char: symbol for symbol, char in enumerate(alphabet, start=1)}
        table = np.zeros(UNICODE_SIZE + len(added_token_ids), np.int32)
        table[[ord(char) for char in alphabet]] = np.arange(1, len(alphabet) + 1)
        self._symbols = CodePointTable(table)
        self._trie = Trie({tuple(symbols[char] for char in piece): id for piece, id in pieces.items()})
        scores = np.array([score for _, score in spec.pieces], np.float64)
        self._unknown_score = float(scores.min()) - _UNKNOWN_PENALTY
        # By id; the last is that of no piece.
        self._scores = graph_constant(np.append(scores, -np.inf))
        self._unk_id = spec.unk_id
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))

    def __call__(self, words: Words) -> Tokens:
        """Splits every word into its best pieces."""
        ids, scores = self._pieces(words)
        best = self._best_scores(words, scores)
        return self._follow(words, ids, scores, best)

    def _pieces(self, words: Words) -> tuple[tf.Tensor, tf.Tensor]:
        """int32 and float64 [L, N]: id and score of the piece of l + 1 characters that starts at each code; −1, −inf if none.

        L is the length of the longest piece found.
        """
        in_word = words.starts | words.inside
        symbols = tf.where(in_word, self._symbols(words.codes), 0)
        size = count(symbols)
        # Words end where another starts, too.
        following = tf.pad(tf.where(words.inside, symbols, 0), [[0, self._trie.max_depth]])
        none = tf.fill([size], Trie.DEAD)

        def one(state: tf.Tensor, symbol: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            state, _ = self._trie.advance(state, none, symbol)
            return state, tf.where(self._trie.ends_word(state), tf.gather(self._trie.value, state), -1)

        def longer(step: tf.Tensor, state: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, ...]:
            state, ids = one(state, following[step : step + size])
            return step + 1, state, found.write(step, ids)

        state, first = one(tf.fill([size], Trie.ROOT), symbols)
        found = tf.TensorArray(tf.int32, size=1, dynamic_size=True, element_shape=[None]).write(0, first)
        *_, found = tf.while_loop(
            lambda step, state, _: (step < self._trie.max_depth) & tf.reduce_any(state > Trie.DEAD),
            longer,
            (tf.constant(1), state, found),
            parallel_iterations=1,
        )
        ids = found.stack()
        scores = tf.gather(self._scores, tf.where(ids >= 0, ids, count(self._scores) - 1))
        unknown = in_word & (first < 0)
        return ids, tf.concat([tf.where(unknown, tf.constant(self._unknown_score, tf.float64), scores[0])[tf.newaxis], scores[1:]], 0)

    def _best_scores(self, words: Words, scores: tf.Tensor) -> tf.Tensor:
        """float64 [N]: the score of the best segmentation of a word up to and with each code.

        One step a character, for all words that are long enough; the words are sorted by length.
        """
        longest, size = tf.shape(scores)[0], tf.shape(scores)[1]
        start = places(words.starts)
        length = tf.gather(word_ends(words), start) - start
        order = tf.argsort(length, direction="DESCENDING")
        start, length = tf.gather(start, order), tf.gather(length, order)
        by_end = _ByEnd(scores, beyond=_LONG)
        window = tf.concat([tf.fill([count(start), longest - 1], tf.constant(-np.inf, tf.float64)), tf.zeros([count(start), 1], tf.float64)], 1)
        best = tf.zeros([size + 1], tf.float64)

        def one_round(width: int, done: tf.Tensor, window: tf.Tensor, best: tf.Tensor) -> tuple[tf.Tensor, ...]:
            going = tf.reduce_sum(tf.cast(length > done, tf.int32))
            ahead = done + tf.range(width)
            end = start[:going] + ahead[:, tf.newaxis]
            window, found = window[:going], []
            for candidates in tf.unstack(by_end(end)):
                found.append(tf.reduce_max(window + candidates, 1, keepdims=True))
                window = tf.concat([window[:, 1:], found[-1]], 1)
            place = tf.where(ahead[:, tf.newaxis] < length[:going], end, size)
            best = tf.tensor_scatter_nd_update(best, place[:, :, tf.newaxis], tf.transpose(tf.concat(found, 1)))
            return done + width, window, best

        state = tf.constant(0), window, best
        for width, limit in ((_SHORT, _SHORT * _SHORT_ROUNDS), (_LONG, None)):
            state = tf.while_loop(
                lambda done, window, best, limit=limit: tf.reduce_any(length > done) & (limit is None or done < limit),
                lambda *state, width=width: one_round(width, *state),
                state,
                shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None]), tf.TensorShape([None])),
                parallel_iterations=1,
            )
        return state[2][:-1]

    def _follow(self, words: Words, ids: tf.Tensor, scores: tf.Tensor, best: tf.Tensor) -> Tokens:
        """Goes back from the end of each word, piece by piece, and gives the pieces' ids."""
        longest, size = tf.shape(scores)[0], tf.shape(scores)[1]
        before = tf.where(words.starts, tf.constant(0, tf.float64), tf.concat([tf.zeros([1], tf.float64), best[:-1]], 0)[:size])
        every = tf.range(size)
        # The first of the best, from the longest piece on.
        chosen = longest - 1 - tf.argmax(_ByEnd(scores + before, beyond=0)(every), 1, tf.int32)
        start = every - chosen
        in_word = words.starts | words.inside
        last = in_word & ~tf.concat([words.inside[1:], [False]], 0)[:size]
        at_word_start = tf.gather(words.starts, tf.maximum(start, 0))
        reached = reachable(last, tf.where(in_word & ~at_word_start, start - 1, size))
        added = words.codes >= ADDED_TOKEN_BASE
        end = places(reached | added)
        start, first = tf.gather(start, end), tf.gather(at_word_start, end)
        added = tf.gather(added, end)
        id = tf.gather(tf.reshape(ids, [-1]), tf.where(added, 0, tf.gather(chosen, end) * size + start))
        unknown = ~added & ((id < 0) | (id == self._unk_id))
        fused = unknown & tf.concat([[False], unknown[:-1]], 0) & ~first
        id = tf.where(unknown, self._unk_id, id)
        id = tf.where(added, added_token_ids(tf.gather(words.codes, end), self._added_token_ids), id)
        kept = places(~fused)
        return Tokens(tf.gather(id, kept), tf.searchsorted(tf.gather(end, kept), words.row_splits))


class _ByEnd:
    """Values of pieces, kept by the place a piece starts at, to be had by the place it ends at."""

    def __init__(self, values: tf.Tensor, beyond: int) -> None:
        """`values` [L, N], of the pieces of l + 1 characters; `beyond`: how far past N may be asked for."""
        longest, size = tf.shape(values)[0], tf.shape(values)[1]
        width = longest + size + beyond
        self._values = tf.reshape(tf.pad(values, [[0, 0], [longest, beyond]], constant_values=tf.constant(-np.inf, tf.float64)), [-1])
        row = tf.range(longest - 1, -1, -1)
        self._place = row * width + longest - row

    def __call__(self, end: tf.Tensor) -> tf.Tensor:
        """int32 places of any shape → float64 [..., L], the longest piece first."""
        return tf.gather(self._values, end[..., tf.newaxis] + self._place)
