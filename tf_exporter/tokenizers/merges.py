"""Merging pairs of symbols by rank, in many segments of text at once.

Every segment merges all its pairs of its lowest rank at a time, which comes to the same as one by one from the left, unless
a merge makes a pair of lower rank; then only the merges up to that one are done.

Long segments are merged in windows that overlap by half. A sequence of tokens is what merging makes of a text exactly if each
two neighbours are what it makes of theirs: the first merge that crossed from one token into the next would also be made of
the two by themselves. So where two windows have a token in common, one may be followed up to it and the other from it on.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.double_arrays import PairTable
from tf_exporter.tokenizers.spec import BPESpec
from tf_exporter.tokenizers.stream import count, not_inlined, offsets, places, rarely, select, shift_left, shift_right
from tf_exporter.tokenizers.tables import graph_constant

_LARGEST_INT = 2**31 - 1
_STRIDE = 64
"""Symbols from one window to the next; a window has twice as many."""
_ROUNDS = 3
"""Of merging between two looks at whether any is left to do, which cost about as much as one of few symbols."""
_DELICATE = 1 << 30
"""Added to what a merge makes where it may have to wait for others of its rank."""


def _every_other(flags: tf.Tensor) -> tf.Tensor:
    """Of each run of true flags, bool [N], the first, third, fifth …: "aaaa" is two pairs."""
    missed = tf.concat([[-1], places(~flags)], 0)
    run = tf.range(count(flags)) - tf.gather(missed, tf.cumsum(tf.cast(~flags, tf.int32)))
    return flags & (tf.bitwise.bitwise_and(run, 1) == 1)


class Merges:
    """(ids of symbols, the numbers of their segments, rising) → what they are merged to, not in order; int32 each.

    That is the ids, and the place of the first symbol of each.
    """

    def __init__(self, spec: BPESpec) -> None:
        vocab, skipped = spec.vocab, len(spec.continuing_subword_prefix)
        size = max(vocab.values(), default=0) + 1
        pairs = {(vocab[left], vocab[right]): rank for rank, (left, right) in enumerate(spec.merges)}
        made = np.array([*(vocab[left + right[skipped:]] for left, right in spec.merges), 0], np.int32)
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
        """Merges until nothing is left to merge."""
        longer = segment[2 * _STRIDE :] == segment[: -2 * _STRIDE]
        merged: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            tf.reduce_any(longer), not_inlined(lambda: self._in_windows(ids, segment)), lambda: self._merge(ids, segment)
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
        _, at = tf.raw_ops.RaggedRange(starts=begin, limits=end, deltas=tf.constant(1), Tsplits=tf.int32)
        window = tf.repeat(tf.range(count(owner)), end - begin)
        merged, kept = self._merge(tf.gather(ids, at), window)
        window, at = tf.gather(window, kept), tf.gather(at, kept)
        until = shift_left(at, last=0)
        until = select(shift_left(window, last=-1) == window, until, tf.gather(end, window))
        # Where each token of a window ends, by where it starts in the window.
        width = 2 * _STRIDE
        ends = tf.scatter_nd(
            (window * width + at - tf.gather(begin, window))[:, tf.newaxis], until, [count(owner) * width + width]
        )
        going_on = ~tf.gather(last, window)
        in_next = at - tf.gather(begin, window) - _STRIDE
        place = select(going_on & (in_next >= 0), (window + 1) * width + in_next, 0)
        shared = going_on & (in_next >= 0) & (tf.gather(ends, place) == until)
        joint = tf.math.unsorted_segment_min(select(shared, at, _LARGEST_INT), window, count(owner))
        joint = select(last, _LARGEST_INT - 1, joint)
        before = select(nth == 0, -1, shift_right(joint, first=-1))
        # Without a token in common (few texts are so regular and out of step) the segment is merged as a whole.
        failed = tf.math.unsorted_segment_max(tf.cast(joint == _LARGEST_INT, tf.int32), owner, count(start)) > 0
        kept = places(
            (at > tf.gather(before, window)) & (at <= tf.gather(joint, window)) & ~tf.gather(failed, tf.gather(owner, window))
        )
        number = tf.cumsum(tf.cast(segment != shift_right(segment, first=-1), tf.int32)) - 1
        again = places(tf.gather(failed, number))
        whole, whole_at = self._merge(tf.gather(ids, again), tf.gather(segment, again))
        at = tf.concat([tf.gather(at, kept), tf.gather(again, whole_at)], 0)
        return tf.concat([tf.gather(merged, kept), whole], 0), at

    def _merge(self, ids: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges whole segments."""

        def rounds(rank: tf.Tensor, ids: tf.Tensor, at: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, ...]:
            for _ in range(_ROUNDS):
                ids, kept = self._one_round(rank, ids, segment)
                ids, at, segment = (tf.gather(of, kept) for of in (ids, at, segment))
                rank = self._ranks(ids, segment)
            return rank, ids, at, segment

        _, ids, at, _ = tf.while_loop(
            lambda rank, *_: tf.reduce_any(rank < self._never),
            rounds,
            (self._ranks(ids, segment), ids, tf.range(count(ids)), segment),
            shape_invariants=(tf.TensorShape([None]),) * 4,
            parallel_iterations=1,
        )
        return ids, at

    def _ranks(self, ids: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
        """int32 [N]: the rank of each symbol and the next as a pair."""
        return self._pairs(ids, shift_left(ids, last=0), shift_left(segment, last=-1) == segment)

    def _one_round(self, rank: tf.Tensor, ids: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(int32 [N], what the first symbols of merges become; int64, the places of symbols that are not merged away)."""
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
            tf.reduce_any(delicate), lambda: self._undisturbed(ids, segment, rank, _every_other(take)), (take, merged_away)
        )
        return select(take, made, ids), tf.squeeze(tf.where(~merged_away), 1)

    def _undisturbed(self, ids: tf.Tensor, segment: tf.Tensor, rank: tf.Tensor, take: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of the merges chosen, those that come before any other: up to the first of a segment that makes a lower pair.

        And the symbols that they merge away; bool [N] each.
        """
        if self._at_once is not None:
            place = tf.range(count(ids))
            first = tf.gather(tf.math.segment_min(select(take, place, _LARGEST_INT), segment), segment)
            doubtful = take & (place > first) & ~tf.gather(self._at_once, rank)
            take = rarely(tf.reduce_any(doubtful), lambda: self._up_to_the_first(ids, segment, rank, take), take)
        return take, shift_right(take, first=False)

    def _up_to_the_first(self, ids: tf.Tensor, segment: tf.Tensor, rank: tf.Tensor, take: tf.Tensor) -> tf.Tensor:
        made = tf.bitwise.bitwise_and(tf.gather(self._made, rank), _DELICATE - 1)
        # When a merge is done, all before it are, and none behind it is.
        merged_away = shift_right(take, first=False)
        left = shift_right(select(take, made, ids), first=0)
        left = select(shift_right(merged_away, first=False), shift_right(left, first=0), left)
        right, right_segment = (shift_left(shift_left(of, last=-1), last=-1) for of in (ids, segment))
        lower = self._pairs(left, made, shift_right(segment, first=-1) == segment) < rank
        lower |= self._pairs(made, right, right_segment == segment) < rank
        disturbing = select(take & lower, tf.range(count(ids)), _LARGEST_INT)
        return take & (tf.range(count(ids)) <= tf.gather(tf.math.segment_min(disturbing, segment), segment))
