"""Attention over long texts: a block of queries at a time, so that no [length, length] matrix is held.

The scores of a block are kept as [keys, queries]. TensorFlow multiplies matrices of narrow rows about twice as fast as those of
rows as long as a text, and a block of more than 32 MB costs more to allocate than to compute.

A softmax takes off the largest score first, so that no exponential is infinite. Where the lengths of queries and keys show that
no score can be large, that is left out, as the same result comes from fewer passes over the block. Padding gets a value of zero,
and so does its part in the sum of the weights, which is the product with more columns of the values, all of ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

MASKED = float(np.finfo(np.float32).min)
"""Added to the scores of padding: exactly zero after the softmax, finite before it."""
LONG = 512
"""Texts of more tokens are computed in blocks."""
_SCORES = 3 * 2**20
"""Scores of a block, about: 12 MB."""
_BOUNDED = 60.0
"""Scores up to this size need no maximum taken off: a sum of their exponentials is far from float32's limits."""
_ONES = 16
"""Columns of ones. With one, the values of a head would not begin at a multiple of 64 bytes, and each block would copy them."""
_FEW_TOKENS = 1024
"""Tokens that go through a wide layer at once: 12 MB for 3,072 features."""
_LOCAL_BLOCK = 256
"""Queries of a block where each sees a narrow window."""
_NARROW = 512
"""Windows up to this width on each side are computed for all heads at once: for one head alone there is too little to do."""


class Relative(Protocol):
    """What scores get from the distances between tokens."""

    def __call__(self, head: tf.Tensor, query: tf.Tensor, key: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
        """What is added to the scores of a block: float32 [keys, queries].

        Args:
            head: its number, int32 [].
            query: float32 [queries, size], of this head and times the scale of the products.
            key: float32 [keys, size].
            distance: the place of each key less that of the query, plus length − 1; int32 [keys, queries], from 0.
        """


class ByDistance:
    """A number for each head and distance."""

    def __init__(self, values: tf.Tensor):
        """`values`: float32 [heads, 2 · length − 1], of distances from 1 − length to length − 1."""
        self._values = values

    def __call__(self, head: tf.Tensor, query: tf.Tensor, key: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
        """As `Relative`."""
        return tf.gather(self._values[head], distance)


@dataclass(frozen=True)
class LongBias:
    """What is added to the scores of long texts, of which each block takes its part."""

    padding: tf.Tensor
    """float32 [batch, length], 0 for tokens and `MASKED` for padding."""
    causal: bool = False
    """Whether a token sees only itself and what is before it."""
    window: int | None = None
    """The largest distance a token sees, on each side or, where causal, before it."""
    relative: Relative | None = None
    """Only where every head has a key of its own and there is no window."""

    def seen(self, first: tf.Tensor, end: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The first key and the end of those that any query from `first` to `end` sees."""
        before = 0 if self.window is None else tf.maximum(first - self.window, 0)
        if self.causal:
            return before, end
        return before, length if self.window is None else tf.minimum(end + self.window, length)

    def hidden(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor | None:
        """Places int32 [queries] and [keys] → bool [keys, queries]; None where every token sees all others."""
        back = queries[tf.newaxis, :] - keys[:, tf.newaxis]
        if self.window is None:
            return back < 0 if self.causal else None
        return (back < 0) | (back > self.window) if self.causal else tf.abs(back) > self.window


class _Block:
    """Queries from `first` to `end`, and the keys from `begin` to `stop` that any of them sees."""

    def __init__(self, bias: LongBias, first: tf.Tensor, rows: tf.Tensor, length: tf.Tensor):
        self._bias, self._length = bias, length
        self.first, self.end = first, tf.minimum(first + rows, length)
        self.begin, self.stop = bias.seen(self.first, self.end, length)

        self._queries, self._keys = tf.range(self.first, self.end), tf.range(self.begin, self.stop)

    def hidden(self) -> tf.Tensor | None:
        """What is added to scores of tokens that a query does not see: float32 [keys, 1, queries]; None where it sees all."""
        hidden = self._bias.hidden(self._queries, self._keys)
        return None if hidden is None else (tf.cast(hidden, tf.float32) * MASKED)[:, tf.newaxis]

    def padding(self, texts: slice) -> tf.Tensor:
        """What is added to the scores of some texts: float32 [texts, 1, keys, 1, 1]."""
        return self._bias.padding[texts, tf.newaxis, self.begin : self.stop, tf.newaxis, tf.newaxis]

    def distance(self) -> tf.Tensor:
        """As `Relative` takes it."""
        return self._keys[:, tf.newaxis] - self._queries[tf.newaxis, :] + self._length - 1


def attend_in_blocks(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: LongBias, scale: float) -> tf.Tensor:
    """softmax(query · keyᵀ · scale + bias) · value: float32 [batch, heads, length, size].

    Args:
        query: float32 [batch, heads, length, size].
        key: float32 [batch, groups, length, size]; each group of consecutive heads has one key and one value.
        value: like `key`.
        bias: what tokens see.
        scale: of the products.
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
    everything = bias.window is None and not bias.causal
    together = bias.window is not None and bias.window <= _NARROW
    rows = _rows(bias, length, shared * (batch * groups if together else 1))
    blocks = (length + rows - 1) // rows

    def one_block(index: tf.Tensor, mixed: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        block = _Block(bias, index % blocks * rows, rows, length)
        if together:
            units, view, small, padding = slice(None), [batch, groups], tf.reduce_all(bounded), block.padding(slice(None))
        else:
            unit = index // blocks
            text = unit // groups
            units, view, small, padding = slice(unit, unit + 1), [1, 1], bounded[unit], block.padding(slice(text, text + 1))
        of_block = tf.reshape(query[units, :, block.first : block.end], [-1, shared * (block.end - block.first), size])
        keys, values = (x[units] if everything else x[units, block.begin : block.stop] for x in (key, value))
        scores = tf.matmul(keys, of_block, transpose_b=True)
        if bias.relative is not None:
            scores += bias.relative(unit % groups, of_block[0], keys[0], block.distance())
        by_head = [*view, block.stop - block.begin, shared, block.end - block.first]
        weights = _weights(scores, by_head, padding, block.hidden(), small if bias.relative is None else None)
        found = tf.matmul(values, weights, transpose_a=True)
        found = tf.math.divide_no_nan(found[:, :size], found[:, size : size + 1])
        return index + 1, mixed.write(index, tf.transpose(tf.reshape(found, [-1, size, *by_head[3:]]), [3, 0, 2, 1]))

    count = blocks if together else blocks * batch * groups
    shape = tf.TensorShape([None, None if together else 1, shared, size])
    mixed = tf.TensorArray(tf.float32, count, element_shape=shape, infer_shape=False)
    _, mixed = tf.while_loop(lambda index, _: index < count, one_block, (tf.constant(0), mixed), parallel_iterations=1)
    joined = mixed.concat()
    if together:
        joined = tf.transpose(tf.reshape(joined, [length, batch * heads, size]), [1, 0, 2])
    else:
        joined = tf.transpose(tf.reshape(joined, [batch * groups, length, shared, size]), [0, 2, 1, 3])
    return tf.reshape(joined, [batch, heads, length, size])


def in_parts(layer: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """What a layer makes of each token, float32 [tokens, features]; of some tokens at a time, so that wide rows are few."""
    tokens = tf.shape(x)[0]
    count = (tokens + _FEW_TOKENS - 1) // _FEW_TOKENS
    shape = tf.TensorShape([None, x.shape[-1]])

    def one_part(index: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        return index + 1, parts.write(index, layer(x[index * _FEW_TOKENS : (index + 1) * _FEW_TOKENS]))

    parts = tf.TensorArray(tf.float32, count, element_shape=shape, infer_shape=False)
    _, parts = tf.while_loop(lambda index, _: index < count, one_part, (tf.constant(0), parts), parallel_iterations=1)
    return parts.concat()


def _rows(bias: LongBias, length: tf.Tensor, heads: tf.Tensor | int) -> tf.Tensor:
    """The queries of a block, int32, where each has scores of so many heads."""
    if bias.window is None:
        return tf.clip_by_value(_SCORES // (heads * length), 1, length)
    keys = tf.minimum(bias.window * (1 if bias.causal else 2) + _LOCAL_BLOCK, length)
    return tf.clip_by_value(_SCORES // (heads * keys), 1, _LOCAL_BLOCK)


def _weights(
    scores: tf.Tensor, by_head: list[tf.Tensor], padding: tf.Tensor, hidden: tf.Tensor | None, bounded: tf.Tensor | None
) -> tf.Tensor:
    """The exponentials of scores, float32 [units, keys, queries]; of padding, only where the largest score was taken off.

    Args:
        scores: float32 [units, keys, queries].
        by_head: the shape to which `padding` and `hidden` broadcast.
        padding: added to the scores of padding.
        hidden: added to the scores of tokens that a query does not see.
        bounded: bool [], whether no score is large; None where that is not known.
    """

    def plus(added: tf.Tensor | None) -> tf.Tensor:
        return scores if added is None else tf.reshape(tf.reshape(scores, by_head) + added, tf.shape(scores))

    def less_the_largest() -> tf.Tensor:
        whole = plus(padding if hidden is None else tf.minimum(padding, hidden))
        return tf.exp(whole - tf.reduce_max(whole, 1, keepdims=True))

    return less_the_largest() if bounded is None else tf.cond(bounded, lambda: tf.exp(plus(hidden)), less_the_largest)


def _bounded(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Whether all products are small: float32 [units, heads, length, size] and [units, length, size] → bool [units].

    No product is larger than the two lengths' own.
    """
    longest = tf.reduce_max(tf.reduce_sum(query * query, -1), [1, 2]) * tf.reduce_max(tf.reduce_sum(key * key, -1), 1)
    return longest <= _BOUNDED**2
