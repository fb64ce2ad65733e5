"""Lists of vectors that grow in a loop and are concatenated after it.

A dynamic `tf.TensorArray` does the same, but with an attribute that TensorFlow 2.12 does not know.
"""

from __future__ import annotations

import tensorflow as tf

_VECTOR = (-1,)


def empty_vector_list(dtype: tf.DType) -> tf.Tensor:
    """An empty list of vectors, as the initial value of a loop variable."""
    return tf.raw_ops.EmptyTensorList(
        element_shape=_VECTOR, max_num_elements=-1, element_dtype=dtype
    )


def append_vector(vectors: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """The list with one more vector of any length at its end."""
    return tf.raw_ops.TensorListPushBack(input_handle=vectors, tensor=vector)


def concatenate_vectors(vectors: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The elements of all vectors in order: [total length]."""
    # The op needs at least one vector.
    vectors = append_vector(vectors, tf.zeros([0], dtype))
    none = tf.zeros([0], tf.int64)
    return tf.raw_ops.TensorListConcatV2(
        input_handle=vectors, element_shape=_VECTOR, leading_dims=none, element_dtype=dtype
    ).tensor
