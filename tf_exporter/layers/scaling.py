"""Several elementwise operations in one pass over a matrix."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.small_batch import in_small_batch


def scaled(x: tf.Tensor, center: float, scales: np.ndarray, offset: np.ndarray) -> tf.Tensor:
    """The sum (x - center) · scales + offset, float32 [rows, features].

    `scales` and `offset` are float32 [features]. For more than a few rows, it is one op, which is
    meant for the norms of images.
    """
    if in_small_batch():
        y = (x - center if center else x) * scales
        return tf.nn.bias_add(y, offset) if offset.any() else y
    features = len(scales)
    result, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, [1, -1, 1, features]),
        scale=scales,
        offset=offset,
        mean=np.full(features, center, np.float32),
        variance=np.ones(features, np.float32),
        epsilon=0.0,
        is_training=False,
    )
    return tf.reshape(result, [-1, features])
