"""Ops for small batches, which run on one thread.

On x86, TensorFlow replaces BatchMatMulV2, Softmax and Transpose by oneDNN's kernels. Each call
wakes the other threads of the pool, which takes about 0.05 ms, longer than the work itself.
TensorFlow does not replace the ops here. Products with weights stay, as oneDNN is faster for them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import tensorflow as tf

from tf_exporter.layers.long_texts import LongBias, attend_in_blocks
from tf_exporter.layers.training import dropped_weights

SMALL_BATCH_TOKENS = 32
"""The most tokens of a small batch, padding included. With more tokens, oneDNN is faster."""
_in_small_batch: ContextVar[bool] = ContextVar("in_small_batch", default=False)
Result = TypeVar("Result")


def compute_small_batch(compute: Callable[[], Result]) -> Result:
    """The result of `compute`, which runs while `in_small_batch()` is true."""
    before = _in_small_batch.set(True)
    try:
        return compute()
    finally:
        _in_small_batch.reset(before)


def in_small_batch() -> bool:
    """Whether the graph that is being traced is only for small batches."""
    return _in_small_batch.get()


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor | LongBias, scale: float
) -> tf.Tensor:
    """softmax(query · keyᵀ · scale + bias) · value, all float32 [..., length, size].

    `bias`: float32 that broadcasts to the scores [..., length, length], or a `LongBias`.
    """
    if isinstance(bias, LongBias):
        return attend_in_blocks(query, key, value, bias, scale)
    if not in_small_batch():
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * scale + bias)
        return tf.matmul(dropped_weights(weights), value)
    scores = tf.raw_ops.BatchMatMulV3(x=query, y=key, Tout=tf.float32, adj_y=True) * scale + bias
    return tf.raw_ops.BatchMatMulV3(x=tf.exp(tf.nn.log_softmax(scores)), y=value, Tout=tf.float32)
