"""The texts that signatures take: checks, flattening and prompts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.names import INPUT, PAIR
from tf_exporter.tokenizers.unicode.python_text import white_space


def with_prompt(prompt: str, texts: tf.Tensor) -> tf.Tensor:
    """The texts with the prompt before each."""
    return tf.strings.join([tf.constant(prompt.encode("utf-8")), texts]) if prompt else texts


def stripped(texts: tf.Tensor) -> tf.Tensor:
    """The texts without white space at both ends, as Python's `str.strip`: bytes [batch]."""
    space = "".join(f"\\x{{{code:x}}}" for code in np.flatnonzero(white_space()))
    texts = tf.strings.regex_replace(texts, f"^[{space}]+", "", replace_global=False)
    return tf.strings.regex_replace(texts, f"[{space}]+$", "", replace_global=False)


def flatten(texts: tf.Tensor, name: str) -> tf.Tensor:
    """[batch] or [batch, 1] → [batch]. Other shapes are an error when the graph runs."""
    shape = tf.shape(texts)
    rank = tf.size(shape)
    fits = (rank > 0) & (rank < 3) & (tf.reduce_prod(shape[1:]) == 1)
    message = f"{name} must have shape [batch] or [batch, 1]; got shape"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, shape])]):
        return tf.reshape(texts, [-1])


def paired(
    texts: tf.Tensor, pairs: tf.Tensor, names: tuple[str, str] = (INPUT, PAIR)
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both inputs, flattened. Different numbers of texts are an error when the graph runs."""
    texts, pairs = flatten(texts, names[0]), flatten(pairs, names[1])
    sizes = [tf.size(texts), tf.size(pairs)]
    message = f"{names[0]} and {names[1]} must have the same length; got"
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(*sizes), [message, *sizes])]):
        # Identity ops wait for the check. Without them a later op might fail first.
        return tf.identity(texts), tf.identity(pairs)
