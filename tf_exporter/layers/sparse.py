"""Sparse embeddings: the k largest values of a row, and lists of indices and weights."""

from __future__ import annotations

import tensorflow as tf

UNUSED_INDEX = -1
"""Pads the rows of indices that `active` returns. Its weight is 0."""


def keep_largest(values: tf.Tensor, ranking: tf.Tensor, k: int) -> tf.Tensor:
    """`values`, but 0 except where `ranking` has the k largest of a row: float32 [batch, dim]."""
    _, indices = tf.math.top_k(ranking, k=min(k, values.shape[-1]), sorted=False)
    rows = tf.broadcast_to(tf.range(tf.shape(values)[0])[:, tf.newaxis], tf.shape(indices))
    kept = tf.gather(values, indices, batch_dims=1)
    return tf.ensure_shape(
        tf.scatter_nd(tf.stack([rows, indices], -1), kept, tf.shape(values)), values.shape
    )


def active(values: tf.Tensor, most: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The nonzero values of each row, by descending absolute value.

    Args:
        values: float32 [batch, dim].
        most: k, limited to dim; None: k is the largest number of nonzero values in a row.

    Returns:
        Indices int32 [batch, k] and weights float32 [batch, k]. Rows with fewer nonzero values are
        padded with `UNUSED_INDEX` and 0.
    """
    dim = values.shape[-1]
    count = tf.reduce_max(
        tf.concat([tf.math.count_nonzero(values, axis=-1, dtype=tf.int32), [0]], 0)
    )
    k = count if most is None else tf.minimum(most, dim)
    _, indices = tf.math.top_k(tf.abs(values), k=k)
    weights = tf.gather(values, indices, batch_dims=1)
    return tf.where(weights != 0, indices, UNUSED_INDEX), weights
