"""What a few tokens are computed with: ops that stay on one thread, as waking another takes longer than all they do.

oneDNN's kernels, which TensorFlow puts in the place of BatchMatMulV2, Softmax and Transpose on x86, wake the other threads of
their pool each time, for 0.05 ms or so. The ops here are left alone. (The products with weights are better off with it.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import tensorflow as tf

from tf_exporter.encoders.long_texts import LongBias, attend_in_blocks
from tf_exporter.encoders.training import dropped_weights

FEW_TOKENS = 32
"""From here on oneDNN is faster."""
_few: ContextVar[bool] = ContextVar("few", default=False)
Result = TypeVar("Result")


def computed_for_few(compute: Callable[[], Result]) -> Result:
    """What `compute` makes, with `few()` true while it runs, which saves handing it through all the layers."""
    before = _few.set(True)
    try:
        return compute()
    finally:
        _few.reset(before)


def few() -> bool:
    """Whether what is traced will be run for `FEW_TOKENS` at most."""
    return _few.get()


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor | LongBias, scale: float) -> tf.Tensor:
    """softmax(query · keyᵀ · scale + bias) · value of [..., length, size] each, with a bias that broadcasts to the scores, or
    that of long texts.
    """
    if isinstance(bias, LongBias):
        return attend_in_blocks(query, key, value, bias, scale)
    if not few():
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * scale + bias)
        return tf.matmul(dropped_weights(weights), value)
    scores = tf.raw_ops.BatchMatMulV3(x=query, y=key, Tout=tf.float32, adj_y=True) * scale + bias
    return tf.raw_ops.BatchMatMulV3(x=tf.exp(tf.nn.log_softmax(scores)), y=value, Tout=tf.float32)
