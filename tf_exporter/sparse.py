"""Sparse embeddings: the largest of a row, and the row as lists of indices and weights."""

from __future__ import annotations

import tensorflow as tf

UNUSED_INDEX = -1
"""Fills up the rows of `active`; its weight is 0."""


def keep_largest(values: tf.Tensor, by: tf.Tensor, k: int) -> tf.Tensor:
    """float32 [batch, dim] → the same with 0 in all places of a row but the k where `by` is largest."""
    _, indices = tf.math.top_k(by, k=min(k, values.shape[-1]), sorted=False)
    rows = tf.broadcast_to(tf.range(tf.shape(values)[0])[:, tf.newaxis], tf.shape(indices))
    kept = tf.gather(values, indices, batch_dims=1)
    return tf.ensure_shape(tf.scatter_nd(tf.stack([rows, indices], -1), kept, tf.shape(values)), values.shape)


def active(values: tf.Tensor, most: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [batch, dim] → indices int32 and weights float32, [batch, k], by falling absolute weight.

    k: `most`, or else as many as the fullest row of the batch has. Rows that have fewer are filled up with `UNUSED_INDEX`.
    """
    dim = values.shape[-1]
    count = tf.reduce_max(tf.concat([tf.math.count_nonzero(values, axis=-1, dtype=tf.int32), [0]], 0))
    k = count if most is None else tf.minimum(most, dim)
    _, indices = tf.math.top_k(tf.abs(values), k=k)
    weights = tf.gather(values, indices, batch_dims=1)
    return tf.where(weights != 0, indices, UNUSED_INDEX), weights
