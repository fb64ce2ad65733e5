"""The Unigram model of Hugging Face `tokenizers`: the best segmentation of all words at once.

Follows `Unigram::encode_optimized` of `tokenizers` 0.23. Scores are added in float64 from left to
right. Of equal sums, the one with the longest last piece wins. A character without a piece of its
own is unknown and has the lowest score less 10. The unknown piece itself is unknown too, where the
text spells it. Neighbouring unknown pieces become one text: a piece, the unknown piece, or bytes.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.models.token_spans import run_of
from tf_exporter.tokenizers.ops.lists import append_vector, concatenate_vectors, empty_vector_list
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    Tokens,
    added_token_ids,
    count,
    expand,
    offsets,
    places,
    reachable,
    select,
    shift_left,
    shift_right,
    utf8_byte,
    utf8_length,
)
from tf_exporter.tokenizers.ops.spans import LEADING, covering, white_ends
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, word_ends
from tf_exporter.tokenizers.spec import BYTE_TOKENS, UnigramSpec
from tf_exporter.tokenizers.templates import LARGEST_INT
from tf_exporter.tokenizers.trimming import TrimmedCodes

_UNKNOWN_PENALTY = 10.0
_SHORT, _LONG = 8, 32
"""Characters per round of the search: while most words go on, and once only long ones are left."""
_SHORT_ROUNDS = 4
_DENSE_STEPS = 8
"""Characters of a piece that are looked up before the first check for pieces that go on."""


class Unigram:
    """Words → token ids."""

    def __init__(self, spec: UnigramSpec, added_token_ids: list[int]) -> None:
        pieces = {piece: id for id, (piece, _) in enumerate(spec.pieces) if piece}
        self._symbols, self._trie = string_trie(pieces, len(added_token_ids))
        scores = np.array([score for _, score in spec.pieces], np.float64)
        # By id; the last score is for unknown characters.
        self._scores = graph_constant(np.append(scores, scores.min() - _UNKNOWN_PENALTY))
        self._byte_ids = None
        if spec.byte_fallback:
            self._byte_ids = graph_constant(
                np.array([spec.vocab[token] for token in BYTE_TOKENS], np.int32)
            )
        self._unk_id = spec.unk_id
        rejoined = _rejoined(spec)
        self._is_rejoined = (
            graph_constant(np.isin(np.arange(len(spec.pieces)), rejoined)) if rejoined else None
        )
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))
        self._added_token_count = len(added_token_ids)

    @cached_property
    def _trimmed(self) -> TrimmedCodes:
        return TrimmedCodes(self._added_token_count)

    def __call__(self, words: Words) -> Tokens:
        pieces = self._pieces(words)
        best = self._best_scores(words, pieces)
        return self._follow(words, pieces, best)

    def _pieces(self, words: Words) -> _Pieces:
        """All pieces that match anywhere, and all unknown characters."""
        in_word = words.starts | words.inside
        symbols = select(in_word, self._symbols(words.codes), 0)
        size = count(symbols)
        # Zeros at the starts of words, so that no piece crosses into the next word.
        following = tf.pad(
            select(words.inside, symbols, 0), [[0, max(self._trie.max_depth, _DENSE_STEPS)]]
        )

        def longer(
            step: tf.Tensor, state: tf.Tensor, state_list: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            state = self._trie.advance(state, following[step : step + size])
            return step + 1, state, append_vector(state_list, state)

        states = [self._trie.start(symbols)]
        for step in range(1, _DENSE_STEPS):
            states.append(self._trie.advance(states[-1], following[step : step + size]))
        longest, _, state_list = tf.while_loop(
            lambda step, state, _: (step < self._trie.max_depth) & tf.reduce_any(state > Trie.DEAD),
            longer,
            (
                tf.constant(_DENSE_STEPS),
                states[-1],
                append_vector(empty_vector_list(tf.int32), tf.concat(states, 0)),
            ),
            parallel_iterations=1,
        )
        states = concatenate_vectors(state_list, tf.int32)
        ends = self._trie.ends_word(states)
        piece = places(ends)
        ids = tf.gather(self._trie.value, tf.gather(states, piece))
        unknown = places(in_word & ~ends[:size])
        piece = tf.concat([piece, unknown], 0)
        ids = tf.concat([ids, tf.fill([count(unknown)], -1)], 0)
        scores = tf.gather(self._scores, select(ids >= 0, ids, count(self._scores) - 1))
        start, more = piece % size, piece // size
        return _Pieces(start, start + more, ids, scores, longest)

    def _best_scores(self, words: Words, pieces: _Pieces) -> tf.Tensor:
        """The score of the best segmentation of a word up to and including each code: float64 [N].

        Each step takes one character of all words that are long enough, sorted by length.
        """
        longest, size = pieces.longest, count(words.codes)
        start = places(words.starts)
        length = tf.gather(word_ends(words), start) - start
        order = tf.argsort(length, direction="DESCENDING")
        start, length = tf.gather(start, order), tf.gather(length, order)
        nothing = tf.constant(-np.inf, tf.float64)
        # Row e: the scores of the pieces that end at e, the longest possible first.
        column = longest - 1 - (pieces.end - pieces.start)
        by_end = tf.tensor_scatter_nd_update(
            tf.fill([(size + _LONG) * longest], nothing),
            (pieces.end * longest + column)[:, tf.newaxis],
            pieces.scores,
        )
        by_end = tf.reshape(by_end, [-1, longest])
        window = tf.pad(
            tf.zeros([count(start), 1], tf.float64),
            [[0, 0], [longest - 1, 0]],
            constant_values=nothing,
        )

        def one_round(
            width: int, done: tf.Tensor, window: tf.Tensor, ends: tf.Tensor, best: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            going = tf.reduce_sum(tf.cast(length > done, tf.int32))
            ahead = done + tf.range(width)[:, tf.newaxis]
            end = start[:going] + ahead
            window, columns = window[:going], []
            for candidates in tf.unstack(tf.gather(by_end, end), width):
                columns.append(tf.reduce_max(window + candidates, 1, keepdims=True))
                window = tf.concat([window[:, 1:], columns[-1]], 1)
            # Past its end a word has no scores.
            place = tf.reshape(select(ahead < length[:going], end, size), [-1])
            scores = tf.reshape(tf.transpose(tf.concat(columns, 1)), [-1])
            return done + width, window, append_vector(ends, place), append_vector(best, scores)

        state = tf.constant(0), window, empty_vector_list(tf.int32), empty_vector_list(tf.float64)
        for width, limit in ((_SHORT, _SHORT * _SHORT_ROUNDS), (_LONG, LARGEST_INT)):
            state = tf.while_loop(
                lambda done, *_, limit=limit: tf.reduce_any(length > done) & (done < limit),
                lambda *state, width=width: one_round(width, *state),
                state,
                shape_invariants=(
                    tf.TensorShape([]),
                    tf.TensorShape([None, None]),
                    *[tf.TensorShape([])] * 2,
                ),
                parallel_iterations=1,
            )
        ends, best = (
            concatenate_vectors(state[2], tf.int32),
            concatenate_vectors(state[3], tf.float64),
        )
        return tf.tensor_scatter_nd_update(
            tf.zeros([size + 1], tf.float64), ends[:, tf.newaxis], best
        )[:-1]

    def _follow(self, words: Words, pieces: _Pieces, best: tf.Tensor) -> Tokens:
        """Follows the best pieces back from the end of each word, and emits their ids."""
        size = count(words.codes)
        before = select(words.starts, tf.constant(0, tf.float64), tf.pad(best, [[1, 0]])[:size])
        good = places(
            tf.gather(before, pieces.start) + pieces.scores == tf.gather(best, pieces.end)
        )
        good_start, good_end = tf.gather(pieces.start, good), tf.gather(pieces.end, good)
        # The longest of equally good pieces wins.
        start = tf.math.unsorted_segment_min(good_start, good_end, size)
        chosen = places(good_start == tf.gather(start, good_end))
        good = tf.gather(good, chosen)
        ids = tf.scatter_nd(
            tf.gather(pieces.end, good)[:, tf.newaxis], tf.gather(pieces.ids, good), [size]
        )
        in_word = words.starts | words.inside
        start = select(in_word, start, 0)
        last = in_word & ~shift_left(words.inside, last=False)
        at_word_start = tf.gather(words.starts, start)
        reached = reachable(last, select(in_word & ~at_word_start, start - 1, size))
        added = words.codes >= ADDED_TOKEN_BASE
        ids = select(added, added_token_ids(words.codes, self._added_token_ids), ids)
        unknown = in_word & ((ids < 0) | (ids == self._unk_id))
        tokens = _Chosen(places(reached | added), start, ids, unknown, at_word_start)
        if self._is_rejoined is not None:
            tokens = self._rejoin(pieces, tokens)
        return (
            self._emit_bytes(words, tokens)
            if self._byte_ids is not None
            else self._emit(words, tokens)
        )

    def _rejoin(self, pieces: _Pieces, chosen: _Chosen) -> _Chosen:
        """Replaces each run of unknown pieces that spells a piece by that piece."""
        end = chosen.end
        unknown = tf.gather(chosen.unknown, end)
        goes_on = (
            unknown & shift_right(unknown, first=False) & ~tf.gather(chosen.at_word_start, end)
        )
        first, last = unknown & ~goes_on, unknown & ~shift_left(goes_on, last=False)
        run_start, run_end = (
            tf.gather(chosen.start, tf.boolean_mask(end, first)),
            tf.boolean_mask(end, last),
        )
        runs, size = count(run_start), count(chosen.start)
        run_at = tf.scatter_nd(run_start[:, tf.newaxis], tf.range(runs) + 1, [size]) - 1
        # Pieces that start and end where a run does.
        known = tf.boolean_mask(tf.range(count(pieces.ids)), pieces.ids >= 0)
        known = tf.boolean_mask(known, tf.gather(self._is_rejoined, tf.gather(pieces.ids, known)))
        run = tf.gather(run_at, tf.gather(pieces.start, known))
        same = tf.gather(tf.concat([run_end, [-1]], 0), select(run >= 0, run, runs)) == tf.gather(
            pieces.end, known
        )
        run, ids = tf.boolean_mask(run, same), tf.gather(pieces.ids, tf.boolean_mask(known, same))
        joined_ids = tf.concat([tf.scatter_nd(run[:, tf.newaxis], ids + 1, [runs]) - 1, [-1]], 0)
        joined_id = tf.gather(
            joined_ids, select(unknown, tf.cumsum(tf.cast(first, tf.int32)) - 1, runs)
        )
        place = tf.gather(run_end, run)[:, tf.newaxis]
        return chosen._replace(
            end=tf.boolean_mask(end, last | (joined_id < 0)),
            start=tf.tensor_scatter_nd_update(chosen.start, place, tf.gather(run_start, run)),
            ids=tf.tensor_scatter_nd_update(chosen.ids, place, ids),
            unknown=tf.tensor_scatter_nd_update(chosen.unknown, place, tf.zeros_like(run, tf.bool)),
        )

    def _emit(self, words: Words, chosen: _Chosen) -> Tokens:
        """The tokens, where neighbouring unknown pieces of a word become one."""
        end = chosen.end
        unknown = tf.gather(chosen.unknown, end)
        ids = select(unknown, self._unk_id, tf.gather(chosen.ids, end))
        again = unknown & shift_right(unknown, first=False) & ~tf.gather(chosen.at_word_start, end)
        kept = places(~again)
        spans = None
        if words.spans is not None:
            spans = tf.gather(self._spans(words, chosen, again, unknown), kept)
        row_splits = tf.searchsorted(tf.gather(end, kept), words.row_splits)
        return Tokens(tf.gather(ids, kept), row_splits, spans=spans)

    def _spans(
        self, words: Words, chosen: _Chosen, again: tf.Tensor, unknown: tf.Tensor
    ) -> tf.Tensor:
        """The span of the token that each chosen piece is in: int32 [P, columns].

        `again`: whether a piece is joined to the one before it; `unknown`: whether it becomes the
        unknown piece. Bool [P] each. The string of that token is its text.
        """
        assert words.spans is not None
        end = chosen.end
        added = tf.gather(words.codes, end) >= ADDED_TOKEN_BASE
        start = select(added, end, tf.gather(chosen.start, end))
        first, last = run_of(again)
        first, last = tf.gather(start, first), tf.gather(end, last)
        spans = covering(words.spans, first, last)
        if words.spans.shape[1] == LEADING:
            return spans
        ends = tf.stack(white_ends(self._trimmed(words.codes), first, last), 1)
        ends = tf.where(unknown[:, tf.newaxis], ends, spans[:, LEADING:])
        return tf.concat([spans[:, :LEADING], ends], 1)

    def _emit_bytes(self, words: Words, chosen: _Chosen) -> Tokens:
        """The tokens, where unknown pieces become bytes, except a single unknown piece itself."""
        end = chosen.end
        unknown = tf.gather(chosen.unknown, end)
        before = unknown & shift_right(unknown, first=False) & ~tf.gather(chosen.at_word_start, end)
        after = shift_left(before, last=False)
        alone = unknown & ~before & ~after & (tf.gather(chosen.ids, end) == self._unk_id)
        in_bytes = unknown & ~alone
        # The token that each code belongs to; arbitrary for codes in no word.
        size = count(words.codes)
        start = select(
            tf.gather(words.codes, end) >= ADDED_TOKEN_BASE, end, tf.gather(chosen.start, end)
        )
        token = tf.cumsum(tf.scatter_nd(start[:, tf.newaxis], tf.ones_like(start), [size])) - 1
        token = tf.maximum(token, 0)
        is_end = tf.scatter_nd(end[:, tf.newaxis], tf.ones_like(end), [size])
        in_word = words.starts | words.inside
        bytes_here = in_word & tf.gather(tf.concat([in_bytes, [False]], 0), token)
        lengths = select(bytes_here, utf8_length(words.codes), is_end)
        owner, nth = expand(lengths)
        byte = utf8_byte(tf.gather(words.codes, owner), tf.gather(lengths, owner), nth)
        ids = select(
            tf.gather(bytes_here, owner),
            tf.gather(self._byte_ids, tf.minimum(byte, 255)),
            tf.gather(chosen.ids, owner),
        )
        spans = None
        if words.spans is not None:
            no_text = tf.zeros_like(unknown)
            spans = tf.gather(self._spans(words, chosen, before, no_text), tf.gather(token, owner))
        return Tokens(ids, tf.gather(offsets(lengths), words.row_splits), spans=spans)


def _rejoined(spec: UnigramSpec) -> list[int]:
    """The ids of all pieces that a run of unknown pieces may spell.

    Such a piece consists of the text of the unknown piece and of characters that are no pieces.
    Without the former, no run spells it: the piece itself has the better score.
    """
    unknown = spec.pieces[spec.unk_id][0]
    if not unknown:
        return []
    candidates = [
        (piece, id)
        for id, (piece, _) in enumerate(spec.pieces)
        if unknown in piece and piece != unknown
    ]
    known = {piece for piece, _ in spec.pieces if len(piece) == 1}
    return [id for piece, id in candidates if _consists_of(piece, unknown, known)]


def _consists_of(piece: str, unknown: str, known: set[str]) -> bool:
    """Whether a piece can be split into the unknown piece and characters that are not known."""
    reached = {0}
    for position, char in enumerate(piece):
        if position in reached:
            reached |= {position + 1} if char not in known else set()
            reached |= {position + len(unknown)} if piece.startswith(unknown, position) else set()
    return len(piece) in reached


class _Pieces(NamedTuple):
    """The pieces that match in the text, [E] each, and the length of the longest in characters."""

    start: tf.Tensor
    end: tf.Tensor
    """int32: the positions of the first and the last code."""
    ids: tf.Tensor
    """int32, −1 for an unknown character."""
    scores: tf.Tensor
    """float64"""
    longest: tf.Tensor


class _Chosen(NamedTuple):
    """The best pieces: `end`, int32 [P], are their last codes, which index the rest, [N] each."""

    end: tf.Tensor
    start: tf.Tensor
    ids: tf.Tensor
    unknown: tf.Tensor
    at_word_start: tf.Tensor
