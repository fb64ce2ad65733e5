"""Attention over long texts: a block of queries at a time, so that no [length, length] matrix is held.

The scores of a block are kept as [keys, queries]. TensorFlow multiplies matrices of narrow rows about twice as fast as those of
rows as long as a text, and a block of more than 32 MB costs more to allocate than to compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

MASKED = float(np.finfo(np.float32).min)
"""Added to the scores of padding: exactly zero after the softmax, finite before it."""
LONG = 512
"""Texts of more tokens are computed in blocks."""
_SCORES = 2**21
"""Scores of a block, about: 8 MB."""
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

    def added(self, texts: slice) -> tf.Tensor:
        """What is added to the scores of some texts: broadcasts to [texts, groups, keys, heads of a group, queries]."""
        added = self._bias.padding[texts, tf.newaxis, self.begin : self.stop, tf.newaxis, tf.newaxis]
        hidden = self._bias.hidden(self._queries, self._keys)
        return added if hidden is None else tf.minimum(added, (tf.cast(hidden, tf.float32) * MASKED)[:, tf.newaxis])

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
    key, value = (tf.reshape(x, [batch * groups, length, size]) for x in (key, value))
    assert bias.relative is None or (shared == 1 and bias.window is None)
    together = bias.window is not None and bias.window <= _NARROW
    rows = _rows(bias, length, shared * (batch * groups if together else 1))
    blocks = (length + rows - 1) // rows

    def one_block(index: tf.Tensor, mixed: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        block = _Block(bias, index % blocks * rows, rows, length)
        if together:
            units, view, added = slice(None), [batch, groups], block.added(slice(None))
        else:
            unit = index // blocks
            units, view, added = slice(unit, unit + 1), [1, 1], block.added(slice(unit // groups, unit // groups + 1))
        of_block = tf.reshape(query[units, :, block.first : block.end], [-1, shared * (block.end - block.first), size])
        keys = key[units, block.begin : block.stop]
        scores = tf.matmul(keys, of_block, transpose_b=True)
        if bias.relative is not None:
            scores += bias.relative(unit % groups, of_block[0], keys[0], block.distance())
        by_head = [*view, block.stop - block.begin, shared, block.end - block.first]
        scores = tf.reshape(tf.reshape(scores, by_head) + added, tf.shape(scores))
        weights = tf.exp(scores - tf.reduce_max(scores, 1, keepdims=True))
        found = tf.matmul(value[units, block.begin : block.stop], weights, transpose_a=True)
        found = tf.reshape(found / tf.reduce_sum(weights, 1, keepdims=True), [-1, size, *by_head[3:]])
        return index + 1, mixed.write(index, tf.transpose(found, [3, 0, 2, 1]))

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


def _rows(bias: LongBias, length: tf.Tensor, heads: tf.Tensor | int) -> tf.Tensor:
    """The queries of a block, int32, where each has scores of so many heads."""
    if bias.window is None:
        return tf.clip_by_value(_SCORES // (heads * length), 1, length)
    keys = tf.minimum(bias.window * (1 if bias.causal else 2) + _LOCAL_BLOCK, length)
    return tf.clip_by_value(_SCORES // (heads * keys), 1, _LOCAL_BLOCK)
