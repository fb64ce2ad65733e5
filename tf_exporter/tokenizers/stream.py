"""The batch of texts as it flows through the tokenizer: one flat run of codes and where each text starts."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_exporter.tokenizers.tables import UNICODE_SIZE

ADDED_TOKEN_BASE = UNICODE_SIZE
"""Code ADDED_TOKEN_BASE + k stands for an occurrence of the k-th added token, from the step that found it on."""


class Stream(NamedTuple):
    """`codes` int32 [N]: the code points (and added tokens) of all texts; `row_splits` int32 [batch + 1]."""

    codes: tf.Tensor
    row_splits: tf.Tensor


def decode(texts: tf.Tensor) -> Stream:
    """Bytes [batch] → code points; invalid UTF-8 becomes U+FFFD as in Python's `errors="replace"`."""
    row_splits, codes = tf.raw_ops.UnicodeDecode(
        input=texts,
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        replace_control_characters=False,
        Tsplits=tf.int32,
    )
    return Stream(codes, row_splits)


def count(tensor: tf.Tensor) -> tf.Tensor:
    """The length of a vector as int32."""
    return tf.shape(tensor)[0]


def places(flags: tf.Tensor) -> tf.Tensor:
    """Where the flags, bool [N], are true: int32 [true ones]."""
    return tf.cast(tf.where(flags)[:, 0], tf.int32)


def offsets(counts: tf.Tensor) -> tf.Tensor:
    """int32 counts [N] → int32 [N + 1]: where the items of each element start, and the total."""
    return tf.concat([[0], tf.cumsum(counts)], 0)


def row_starts(stream: Stream) -> tf.Tensor:
    """Bool [N]: whether an element is the first of its text."""
    length = count(stream.codes)
    marks = tf.scatter_nd(stream.row_splits[:, tf.newaxis], tf.ones_like(stream.row_splits), [length + 1])
    return marks[:-1] > 0


def shift_right(flags: tf.Tensor, first: bool) -> tf.Tensor:
    """Element i − 1 at place i, `first` at place 0."""
    return tf.concat([[first], flags[:-1]], 0)
