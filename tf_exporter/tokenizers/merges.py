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
from tf_exporter.tokenizers.stream import count, not_inlined, offsets, places, rarely
from tf_exporter.tokenizers.tables import graph_constant

_LARGEST_INT = 2**31 - 1
_STRIDE = 64
"""Symbols from one window to the next; a window has twice as many."""


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
        self._made = graph_constant(made)
        lowest = np.full(size, self._never + 1)
        for (left, right), rank in pairs.items():
            lowest[left], lowest[right] = min(lowest[left], rank), min(lowest[right], rank)
        at_once = lowest[made] > np.arange(len(made))
        self._at_once = None if at_once[list(pairs.values())].all() else graph_constant(at_once)

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
        start = places(segment != tf.concat([[-1], segment[:-1]], 0))
        length = tf.concat([start[1:], count(ids)[tf.newaxis]], 0)[: count(start)] - start
        windows = tf.maximum(1, -(-length // _STRIDE) - 1)
        owner = tf.repeat(tf.range(count(start)), windows)
        nth = tf.range(count(owner)) - tf.gather(offsets(windows), owner)
        begin = tf.gather(start, owner) + nth * _STRIDE
        last = nth == tf.gather(windows, owner) - 1
        end = tf.where(last, tf.gather(start + length, owner), begin + 2 * _STRIDE)
        _, at = tf.raw_ops.RaggedRange(starts=begin, limits=end, deltas=tf.constant(1), Tsplits=tf.int32)
        window = tf.repeat(tf.range(count(owner)), end - begin)
        merged, kept = self._merge(tf.gather(ids, at), window)
        window, at = tf.gather(window, kept), tf.gather(at, kept)
        until = tf.concat([at[1:], [0]], 0)
        until = tf.where(tf.concat([window[1:], [-1]], 0) == window, until, tf.gather(end, window))
        # Where each token of a window ends, by where it starts in the window.
        width = 2 * _STRIDE
        ends = tf.scatter_nd(
            (window * width + at - tf.gather(begin, window))[:, tf.newaxis], until, [count(owner) * width + width]
        )
        going_on = ~tf.gather(last, window)
        in_next = at - tf.gather(begin, window) - _STRIDE
        place = tf.where(going_on & (in_next >= 0), (window + 1) * width + in_next, 0)
        shared = going_on & (in_next >= 0) & (tf.gather(ends, place) == until)
        joint = tf.math.unsorted_segment_min(tf.where(shared, at, _LARGEST_INT), window, count(owner))
        joint = tf.where(last, _LARGEST_INT - 1, joint)
        before = tf.where(nth == 0, -1, tf.concat([[-1], joint[:-1]], 0))
        # Without a token in common (few texts are so regular and out of step) the segment is merged as a whole.
        failed = tf.math.unsorted_segment_max(tf.cast(joint == _LARGEST_INT, tf.int32), owner, count(start)) > 0
        kept = places(
            (at > tf.gather(before, window)) & (at <= tf.gather(joint, window)) & ~tf.gather(failed, tf.gather(owner, window))
        )
        number = tf.cumsum(tf.cast(segment != tf.concat([[-1], segment[:-1]], 0), tf.int32)) - 1
        again = places(tf.gather(failed, number))
        whole, whole_at = self._merge(tf.gather(ids, again), tf.gather(segment, again))
        at = tf.concat([tf.gather(at, kept), tf.gather(again, whole_at)], 0)
        return tf.concat([tf.gather(merged, kept), whole], 0), at

    def _merge(self, ids: tf.Tensor, segments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges whole segments."""

        def one(_: tf.Tensor, ids: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, ...]:
            segment = tf.gather(segments, at)
            following = tf.concat([ids[1:], [0]], 0)
            rank = self._pairs(ids, following, tf.concat([segment[1:], [-1]], 0) == segment)
            lowest = tf.minimum(tf.math.segment_min(rank, segment), self._never - 1)
            take = rank == tf.gather(lowest, segment)
            some = tf.reduce_any(take)
            take = rarely(tf.reduce_any(take[1:] & take[:-1]), lambda: _every_other(take), take)
            if self._at_once is not None:
                take = self._undisturbed(ids, segment, rank, take)
            ids = tf.where(take, tf.gather(self._made, rank), ids)
            kept = places(~tf.concat([[False], take[:-1]], 0))
            return some, tf.gather(ids, kept), tf.gather(at, kept)

        shapes = tuple(tf.TensorShape(shape) for shape in ([], [None], [None]))
        _, ids, at = tf.while_loop(
            lambda more, *_: more,
            one,
            (count(ids) > 0, ids, tf.range(count(ids))),
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        return ids, at

    def _undisturbed(self, ids: tf.Tensor, segment: tf.Tensor, rank: tf.Tensor, take: tf.Tensor) -> tf.Tensor:
        """Of the merges chosen, those that come before any other: up to the first of a segment that makes a lower pair."""
        place = tf.range(count(ids))
        first = tf.gather(tf.math.segment_min(tf.where(take, place, _LARGEST_INT), segment), segment)
        doubtful = take & (place > first) & ~tf.gather(self._at_once, rank)

        def up_to_the_first() -> tf.Tensor:
            made = tf.gather(self._made, rank)
            # When a merge is done, all before it are, and none behind it is.
            merged_away = tf.concat([[False], take[:-1]], 0)
            left = tf.concat([[0], tf.where(take, made, ids)[:-1]], 0)
            left = tf.where(tf.concat([[False], merged_away[:-1]], 0), tf.concat([[0], left[:-1]], 0), left)
            left_owner = tf.concat([[-1], segment[:-1]], 0)
            right, right_owner = tf.concat([ids[2:], [0, 0]], 0), tf.concat([segment[2:], [-1, -1]], 0)
            size = count(ids)
            lower = self._pairs(left[:size], made, left_owner == segment) < rank
            lower |= self._pairs(made, right[:size], right_owner[:size] == segment) < rank
            disturbing = tf.where(take & lower, place, _LARGEST_INT)
            return take & (place <= tf.gather(tf.math.segment_min(disturbing, segment), segment))

        return rarely(tf.reduce_any(doubtful), up_to_the_first, take)
