"""Merging pairs of symbols by rank, in many segments of text at once.

Each round merges all pairs of the lowest rank in each segment. The result is the same as for one
merge after the other from the left, unless a merge makes a pair of lower rank. Then only the merges
up to that one are done.

Long segments are merged in windows that overlap by half. A sequence of tokens is the result for a
text exactly if each two neighbours are the result for their own text, because the first merge
across their border would also happen there. So where two windows share a token, the tokens of the
first count up to it, and those of the second after it.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    count,
    not_inlined,
    offsets,
    places,
    rarely,
    select,
    shift_left,
    shift_right,
)
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.ops.tries import PairTable
from tf_exporter.tokenizers.spec import BPESpec
from tf_exporter.tokenizers.templates import LARGEST_INT

_STRIDE = 64
"""Symbols between the starts of two windows; a window is twice as long."""
_ROUNDS = 3
"""Rounds between two checks for merges that are left; a check costs as much as a small round."""
_DELICATE = 1 << 30
"""A flag on the result of a merge that may have to wait for others of its rank."""


def _every_other(flags: tf.Tensor) -> tf.Tensor:
    """The first, third, fifth … flag of each run of true flags, bool [N]: "aaaa" has two pairs."""
    missed = tf.concat([[-1], places(~flags)], 0)
    run = tf.range(count(flags)) - tf.gather(missed, tf.cumsum(tf.cast(~flags, tf.int32)))
    return flags & (tf.bitwise.bitwise_and(run, 1) == 1)


class Merges:
    """Merges symbols until no pair has a rank."""

    def __init__(self, spec: BPESpec) -> None:
        vocab, skipped = spec.vocab, len(spec.continuing_subword_prefix)
        size = max(vocab.values(), default=0) + 1
        pairs = {
            (vocab[left], vocab[right]): rank for rank, (left, right) in enumerate(spec.merges)
        }
        made = np.array(
            [*(vocab[left + right[skipped:]] for left, right in spec.merges), 0], np.int32
        )
        self._never = len(spec.merges)
        self._pairs = PairTable(pairs, size, default=self._never)
        lowest = np.full(size, self._never + 1)
        for (left, right), rank in pairs.items():
            lowest[left], lowest[right] = min(lowest[left], rank), min(lowest[right], rank)
        used = list(pairs.values())
        at_once = lowest[made] > np.arange(len(made))
        self._at_once = None if at_once[used].all() else graph_constant(at_once)
        if self._at_once is not None:
            delicate = ~at_once
            delicate[[rank for (left, right), rank in pairs.items() if left == right]] = True
            made = made + _DELICATE * delicate
        self._made = graph_constant(made.astype(np.int32))

    def __call__(self, ids: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The ids of symbols and the numbers of their segments, rising; int32 [N] each → tokens.

        Tokens are their ids and the positions of their first symbols, in any order; int32 [T] each.
        """
        longer = segment[2 * _STRIDE :] == segment[: -2 * _STRIDE]
        merged: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            tf.reduce_any(longer),
            not_inlined(lambda: self._in_windows(ids, segment)),
            lambda: self._merge(ids, segment),
        )
        for vector in merged:
            vector.set_shape([None])
        return merged

    def _in_windows(self, ids: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        start = places(segment != shift_right(segment, first=-1))
        length = tf.concat([start[1:], count(ids)[tf.newaxis]], 0)[: count(start)] - start
        windows = tf.maximum(1, -(-length // _STRIDE) - 1)
        owner = tf.repeat(tf.range(count(start)), windows)
        nth = tf.range(count(owner)) - tf.gather(offsets(windows), owner)
        begin = tf.gather(start, owner) + nth * _STRIDE
        last = nth == tf.gather(windows, owner) - 1
        end = select(last, tf.gather(start + length, owner), begin + 2 * _STRIDE)
        _, positions = tf.raw_ops.RaggedRange(
            starts=begin, limits=end, deltas=tf.constant(1), Tsplits=tf.int32
        )
        window = tf.repeat(tf.range(count(owner)), end - begin)
        merged, kept = self._merge(tf.gather(ids, positions), window)
        window, positions = tf.gather(window, kept), tf.gather(positions, kept)
        until = shift_left(positions, last=0)
        until = select(shift_left(window, last=-1) == window, until, tf.gather(end, window))
        # The end of each token of a window, by its start in the window.
        width = 2 * _STRIDE
        ends = tf.scatter_nd(
            (window * width + positions - tf.gather(begin, window))[:, tf.newaxis],
            until,
            [count(owner) * width + width],
        )
        going_on = ~tf.gather(last, window)
        in_next = positions - tf.gather(begin, window) - _STRIDE
        place = select(going_on & (in_next >= 0), (window + 1) * width + in_next, 0)
        shared = going_on & (in_next >= 0) & (tf.gather(ends, place) == until)
        joint = tf.math.unsorted_segment_min(
            select(shared, positions, LARGEST_INT), window, count(owner)
        )
        joint = select(last, LARGEST_INT - 1, joint)
        before = select(nth == 0, -1, shift_right(joint, first=-1))
        # Without a shared token, which is rare, the segment is merged as a whole.
        failed = (
            tf.math.unsorted_segment_max(
                tf.cast(joint == LARGEST_INT, tf.int32), owner, count(start)
            )
            > 0
        )
        kept = places(
            (positions > tf.gather(before, window))
            & (positions <= tf.gather(joint, window))
            & ~tf.gather(failed, tf.gather(owner, window))
        )
        number = tf.cumsum(tf.cast(segment != shift_right(segment, first=-1), tf.int32)) - 1
        again = places(tf.gather(failed, number))
        whole, whole_positions = self._merge(tf.gather(ids, again), tf.gather(segment, again))
        positions = tf.concat([tf.gather(positions, kept), tf.gather(again, whole_positions)], 0)
        return tf.concat([tf.gather(merged, kept), whole], 0), positions

    def _merge(self, ids: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges whole segments."""

        def rounds(
            rank: tf.Tensor, ids: tf.Tensor, positions: tf.Tensor, segment: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            for _ in range(_ROUNDS):
                ids, kept = self._one_round(rank, ids, segment)
                ids, positions, segment = (
                    tf.gather(vector, kept) for vector in (ids, positions, segment)
                )
                rank = self._ranks(ids, segment)
            return rank, ids, positions, segment

        _, ids, positions, _ = tf.while_loop(
            lambda rank, *_: tf.reduce_any(rank < self._never),
            rounds,
            (self._ranks(ids, segment), ids, tf.range(count(ids)), segment),
            shape_invariants=(tf.TensorShape([None]),) * 4,
            parallel_iterations=1,
        )
        return ids, positions

    def _ranks(self, ids: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
        """The rank of the pair of each symbol and the next: int32 [N]."""
        return self._pairs(ids, shift_left(ids, last=0), shift_left(segment, last=-1) == segment)

    def _one_round(
        self, rank: tf.Tensor, ids: tf.Tensor, segment: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The ids after a round, int32 [N], and the indices of the symbols that are left, int64."""
        lowest = tf.minimum(tf.math.segment_min(rank, segment), self._never - 1)
        take = rank == tf.gather(lowest, segment)
        made = tf.gather(self._made, rank)
        merged_away = shift_right(take, first=False)
        if self._at_once is None:
            delicate = take & merged_away
        else:
            delicate = take & (made >= _DELICATE)
            made = tf.bitwise.bitwise_and(made, _DELICATE - 1)
        take, merged_away = rarely(
            tf.reduce_any(delicate),
            lambda: self._undisturbed(ids, segment, rank, _every_other(take)),
            (take, merged_away),
        )
        return select(take, made, ids), tf.squeeze(tf.where(~merged_away), 1)

    def _undisturbed(
        self, ids: tf.Tensor, segment: tf.Tensor, rank: tf.Tensor, take: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The merges that are safe, and the symbols that they merge away; bool [N] each.

        In each segment those are the merges up to the first that makes a pair of lower rank.
        """
        if self._at_once is not None:
            place = tf.range(count(ids))
            first = tf.gather(
                tf.math.segment_min(select(take, place, LARGEST_INT), segment), segment
            )
            doubtful = take & (place > first) & ~tf.gather(self._at_once, rank)
            take = rarely(
                tf.reduce_any(doubtful),
                lambda: self._up_to_the_first(ids, segment, rank, take),
                take,
            )
        return take, shift_right(take, first=False)

    def _up_to_the_first(
        self, ids: tf.Tensor, segment: tf.Tensor, rank: tf.Tensor, take: tf.Tensor
    ) -> tf.Tensor:
        made = tf.bitwise.bitwise_and(tf.gather(self._made, rank), _DELICATE - 1)
        # At each merge, all merges before it are done, and none after it.
        merged_away = shift_right(take, first=False)
        left = shift_right(select(take, made, ids), first=0)
        left = select(shift_right(merged_away, first=False), shift_right(left, first=0), left)
        right, right_segment = (
            shift_left(shift_left(vector, last=-1), last=-1) for vector in (ids, segment)
        )
        lower = self._pairs(left, made, shift_right(segment, first=-1) == segment) < rank
        lower |= self._pairs(made, right, right_segment == segment) < rank
        disturbing = select(take & lower, tf.range(count(ids)), LARGEST_INT)
        return take & (
            tf.range(count(ids)) <= tf.gather(tf.math.segment_min(disturbing, segment), segment)
        )
