"""Attention over long texts, one block of queries at a time, without a [length, length] matrix.

The scores of a block are [keys, queries]: TensorFlow multiplies matrices with narrow rows about
twice as fast as matrices whose rows are as long as a text. A block of more than 32 MB takes longer
to allocate than to compute.

A softmax usually subtracts the largest score first, so that no exponential is infinite. If the
norms of queries and keys show that no score is large, this step is skipped, which saves passes over
the block. The values have extra columns of ones, so that the product with them also gives the sum
of the weights. Values and ones of padding are zero, so padding adds nothing to either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

MASKED = float(np.finfo(np.float32).min)
"""Added to the scores of padding. It is finite, and the softmax turns it into exactly zero."""
LONG = 512
"""Texts with more tokens than this are computed in blocks."""
_SCORES = 3 * 2**20
"""Approximate number of scores in a block, 12 MB."""
_BOUNDED = 60.0
"""Scores up to this size need no subtraction: the sum of their exponentials fits into float32."""
_ONES = 16
"""Number of columns of ones. With one column, the values of a head would not start at a multiple of
64 bytes, and each block would copy them.
"""
_PART_TOKENS = 1024
"""Tokens that go through a wide layer at once: 12 MB for 3,072 features."""
_LOCAL_BLOCK = 256
"""Queries in a block when each attends to a window."""
_NARROW = 512
"""Windows up to this width on each side are computed for all heads at once: one head is too little
work for an op.
"""


class Relative(Protocol):
    """A bias of the scores that depends on the distances between tokens."""

    def __call__(
        self, head: tf.Tensor, query: tf.Tensor, key: tf.Tensor, distance: tf.Tensor
    ) -> tf.Tensor:
        """The bias of the scores of a block, float32 [keys, queries].

        Args:
            head: the index of the head, int32 [].
            query: float32 [queries, size], multiplied by the scale of the scores.
            key: float32 [keys, size].
            distance: int32 [keys, queries], key position − query position + length − 1, so ≥ 0.
        """


class ByDistance:
    """A bias for each head and distance."""

    def __init__(self, values: tf.Tensor):
        """`values`: float32 [heads, 2 · length − 1], for distances 1 − length to length − 1."""
        self._values = values

    def __call__(
        self, head: tf.Tensor, query: tf.Tensor, key: tf.Tensor, distance: tf.Tensor
    ) -> tf.Tensor:
        return tf.gather(self._values[head], distance)


@dataclass(frozen=True)
class LongBias:
    """The bias of the scores of long texts. Each block computes the part that it needs."""

    padding: tf.Tensor
    """float32 [batch, length], 0 for tokens and `MASKED` for padding."""
    causal: bool = False
    """Whether a token attends only to itself and earlier tokens."""
    window: int | None = None
    """The largest distance that a token attends to, on each side or, if causal, before it."""
    relative: Relative | None = None
    """Only allowed if every head has its own key and there is no window."""

    def seen(
        self, first: tf.Tensor, end: tf.Tensor, length: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The start and the end of the keys that queries from `first` to `end` attend to."""
        before = 0 if self.window is None else tf.maximum(first - self.window, 0)
        if self.causal:
            return before, end
        return before, length if self.window is None else tf.minimum(end + self.window, length)

    def hidden(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor | None:
        """Whether each key is masked: positions int32 [queries] and [keys] → bool [keys, queries].

        None: no key is masked.
        """
        back = queries[tf.newaxis, :] - keys[:, tf.newaxis]
        if self.window is None:
            return back < 0 if self.causal else None
        return (back < 0) | (back > self.window) if self.causal else tf.abs(back) > self.window


class _Block:
    """Queries from `first` to `end`, and the keys from `begin` to `stop` that they attend to."""

    def __init__(self, bias: LongBias, first: tf.Tensor, rows: tf.Tensor, length: tf.Tensor):
        self._bias, self._length = bias, length
        self.first, self.end = first, tf.minimum(first + rows, length)
        self.begin, self.stop = bias.seen(self.first, self.end, length)
        self._queries, self._keys = tf.range(self.first, self.end), tf.range(self.begin, self.stop)

    def hidden(self) -> tf.Tensor | None:
        """0, or `MASKED` for masked keys, float32 [keys, 1, queries]; None: no key is masked."""
        hidden = self._bias.hidden(self._queries, self._keys)
        return None if hidden is None else (tf.cast(hidden, tf.float32) * MASKED)[:, tf.newaxis]

    def padding(self, texts: slice) -> tf.Tensor:
        """The bias for the padding of some texts, float32 [texts, 1, keys, 1, 1]."""
        return self._bias.padding[texts, tf.newaxis, self.begin : self.stop, tf.newaxis, tf.newaxis]

    def distance(self) -> tf.Tensor:
        """The argument `distance` of `Relative`."""
        return self._keys[:, tf.newaxis] - self._queries[tf.newaxis, :] + self._length - 1


def soft_capped(scores: tf.Tensor, softcap: float | None) -> tf.Tensor:
    """Scores of any shape between −softcap and softcap: tanh(score / softcap) · softcap."""
    return scores if softcap is None else tf.tanh(scores / softcap) * softcap


def attend_in_blocks(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    bias: LongBias,
    scale: float,
    softcap: float | None = None,
) -> tf.Tensor:
    """softmax(query · keyᵀ · scale + bias) · value, float32 [batch, heads, length, size].

    Args:
        query: float32 [batch, heads, length, size].
        key: float32 [batch, groups, length, size]; consecutive heads of a group share a key.
        value: the same shape as `key`.
        bias: the bias of the scores.
        scale: the factor of the scores.
        softcap: the bound of the scores before the bias is added, as in `soft_capped`; None: none.
    """
    batch, _, length, _ = tf.unstack(tf.shape(query))
    heads, groups, size = query.shape[1], key.shape[1], query.shape[3]
    shared = heads // groups
    query = tf.reshape(query * scale, [batch * groups, shared, length, size])
    value = tf.concat([value, tf.ones([batch, groups, length, _ONES])], -1)
    value *= tf.cast(bias.padding == 0, tf.float32)[:, tf.newaxis, :, tf.newaxis]
    key, value = (tf.reshape(x, [batch * groups, length, x.shape[3]]) for x in (key, value))
    assert bias.relative is None or (shared == 1 and bias.window is None)
    bounded = _bounded(query, key)
    if softcap is not None and softcap <= _BOUNDED:
        bounded = tf.ones_like(bounded)
    everything = bias.window is None and not bias.causal
    together = bias.window is not None and bias.window <= _NARROW
    rows = _rows(bias, length, shared * (batch * groups if together else 1))
    blocks = (length + rows - 1) // rows

    def one_block(index: tf.Tensor, mixed: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        block = _Block(bias, index % blocks * rows, rows, length)
        if together:
            units, view, small, padding = (
                slice(None),
                [batch, groups],
                tf.reduce_all(bounded),
                block.padding(slice(None)),
            )
        else:
            unit = index // blocks
            text = unit // groups
            units, view, small, padding = (
                slice(unit, unit + 1),
                [1, 1],
                bounded[unit],
                block.padding(slice(text, text + 1)),
            )
        queries = tf.reshape(
            query[units, :, block.first : block.end], [-1, shared * (block.end - block.first), size]
        )
        keys, values = (
            x[units] if everything else x[units, block.begin : block.stop] for x in (key, value)
        )
        scores = soft_capped(tf.matmul(keys, queries, transpose_b=True), softcap)
        if bias.relative is not None:
            scores += bias.relative(unit % groups, queries[0], keys[0], block.distance())
        by_head = [*view, block.stop - block.begin, shared, block.end - block.first]
        weights = _weights(
            scores, by_head, padding, block.hidden(), small if bias.relative is None else None
        )
        result = tf.matmul(values, weights, transpose_a=True)
        result = tf.math.divide_no_nan(result[:, :size], result[:, size : size + 1])
        return index + 1, mixed.write(
            index, tf.transpose(tf.reshape(result, [-1, size, *by_head[3:]]), [3, 0, 2, 1])
        )

    count = blocks if together else blocks * batch * groups
    shape = tf.TensorShape([None, None if together else 1, shared, size])
    mixed = tf.TensorArray(tf.float32, count, element_shape=shape, infer_shape=False)
    _, mixed = tf.while_loop(
        lambda index, _: index < count, one_block, (tf.constant(0), mixed), parallel_iterations=1
    )
    joined = mixed.concat()
    if together:
        joined = tf.transpose(tf.reshape(joined, [length, batch * heads, size]), [1, 0, 2])
    else:
        joined = tf.transpose(
            tf.reshape(joined, [batch * groups, length, shared, size]), [0, 2, 1, 3]
        )
    return tf.reshape(joined, [batch, heads, length, size])


def in_parts(layer: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """The output of `layer` for float32 [tokens, features], in parts, to save memory."""
    tokens = tf.shape(x)[0]
    count = (tokens + _PART_TOKENS - 1) // _PART_TOKENS
    shape = tf.TensorShape([None, x.shape[-1]])

    def one_part(index: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        return index + 1, parts.write(
            index, layer(x[index * _PART_TOKENS : (index + 1) * _PART_TOKENS])
        )

    parts = tf.TensorArray(tf.float32, count, element_shape=shape, infer_shape=False)
    _, parts = tf.while_loop(
        lambda index, _: index < count, one_part, (tf.constant(0), parts), parallel_iterations=1
    )
    return parts.concat()


def _rows(bias: LongBias, length: tf.Tensor, heads: tf.Tensor | int) -> tf.Tensor:
    """The number of queries in a block that holds the scores of `heads` heads, int32 []."""
    if bias.window is None:
        return tf.clip_by_value(_SCORES // (heads * length), 1, length)
    keys = tf.minimum(bias.window * (1 if bias.causal else 2) + _LOCAL_BLOCK, length)
    return tf.clip_by_value(_SCORES // (heads * keys), 1, _LOCAL_BLOCK)


def _weights(
    scores: tf.Tensor,
    by_head: list[tf.Tensor],
    padding: tf.Tensor,
    hidden: tf.Tensor | None,
    bounded: tf.Tensor | None,
) -> tf.Tensor:
    """The exponentials of scores, float32 [units, keys, queries].

    `padding` is added only if the largest score is subtracted, as the values of padding are zero.

    Args:
        scores: float32 [units, keys, queries].
        by_head: the shape that `padding` and `hidden` broadcast to.
        padding: the bias for padding.
        hidden: the bias for tokens that a query does not attend to.
        bounded: bool [], whether all scores are small; None: unknown.
    """

    def plus(added: tf.Tensor | None) -> tf.Tensor:
        return (
            scores
            if added is None
            else tf.reshape(tf.reshape(scores, by_head) + added, tf.shape(scores))
        )

    def less_the_largest() -> tf.Tensor:
        whole = plus(padding if hidden is None else tf.minimum(padding, hidden))
        return tf.exp(whole - tf.reduce_max(whole, 1, keepdims=True))

    return (
        less_the_largest()
        if bounded is None
        else tf.cond(bounded, lambda: tf.exp(plus(hidden)), less_the_largest)
    )


def _bounded(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Whether all scores of a unit are small, bool [units]: |q · k| ≤ |q| |k|.

    Args:
        query: float32 [units, heads, length, size].
        key: float32 [units, length, size].
    """
    longest = tf.reduce_max(tf.reduce_sum(query * query, -1), [1, 2]) * tf.reduce_max(
        tf.reduce_sum(key * key, -1), 1
    )
    return longest <= _BOUNDED**2
