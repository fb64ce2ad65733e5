"""A lookup table of strings, hashed by a stock op; there is no hash table to initialise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import select
from tf_exporter.tokenizers.ops.tables import graph_constant


class StringTable:
    """Strings → int32; the strings of one hash bucket are compared in full.

    Unlike a trie, it is quick to build for the millions of words of word embeddings.
    """

    def __init__(self, values: Mapping[str, int], default: int) -> None:
        """`default`: the value of all other strings."""
        words = [word.encode() for word in values]
        self._buckets = max(2, 1 << len(words).bit_length())
        with tf.device("/CPU:0"):
            bucket = tf.strings.to_hash_bucket_fast(
                tf.constant(words, tf.string, [len(words)]), self._buckets
            ).numpy()
            order = np.argsort(bucket, kind="stable")
            self._words = tf.constant([*(words[index] for index in order), b""], tf.string)
        numbers = np.array([*values.values(), default], np.int32)
        self._values = graph_constant(numbers[np.append(order, len(words))])
        first = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=self._buckets))])
        self._first = graph_constant(first.astype(np.int32))
        self._default = default

    def __call__(self, strings: tf.Tensor) -> tf.Tensor:
        """Bytes [N] → int32 [N]."""
        bucket = tf.strings.to_hash_bucket_fast(strings, self._buckets)
        place, end = tf.gather(self._first, bucket), tf.gather(self._first, bucket + 1)

        def compare(place: tf.Tensor, result: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index = tf.minimum(place, tf.size(self._values) - 1)
            equal = (place < end) & (tf.gather(self._words, index) == strings)
            # A match ends the search for its string.
            return select(equal, end, place + 1), select(
                equal, tf.gather(self._values, index), result
            )

        _, result = tf.while_loop(
            lambda place, _: tf.reduce_any(place < end),
            compare,
            (place, tf.fill(tf.shape(place), self._default)),
            parallel_iterations=1,
        )
        return result
