"""Lists that grow in a loop: vectors are put behind each other and joined at the end.

A `tf.TensorArray` of dynamic size does the same by an attribute that TensorFlow 2.12 does not know.
"""

from __future__ import annotations

import tensorflow as tf

_VECTOR = (-1,)


def growing(dtype: tf.DType) -> tf.Tensor:
    """An empty list of vectors; a loop variable."""
    return tf.raw_ops.EmptyTensorList(element_shape=_VECTOR, max_num_elements=-1, element_dtype=dtype)


def grown(vectors: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """With one more vector, [any]."""
    return tf.raw_ops.TensorListPushBack(input_handle=vectors, tensor=vector)


def joined(vectors: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """[all] numbers of all vectors, in order."""
    # The op wants one vector at least.
    vectors = grown(vectors, tf.zeros([0], dtype))
    none = tf.zeros([0], tf.int64)
    return tf.raw_ops.TensorListConcatV2(
        input_handle=vectors, element_shape=_VECTOR, leading_dims=none, element_dtype=dtype
    ).tensor
