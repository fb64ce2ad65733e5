"""Texts that are an error when the graph runs, because of what they contain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import tensorflow as tf

from tf_exporter.tokenizers.post_processors import Encodings


class TextCheck(Protocol):
    """A check of tokens in two steps, between which texts of several calls may be computed."""

    def found(self, encodings: Encodings) -> tuple[Encodings, tf.Tensor]:
        """Encodings that can be computed, and what is wrong with each text: int32 [batch, …]."""

    def stop(self, found: tf.Tensor) -> tf.Operation:
        """An op that fails if a text is wrong; the error says what."""


class NeedsTokens:
    """The check for models that have no result for a text without tokens."""

    def found(self, encodings: Encodings) -> tuple[Encodings, tf.Tensor]:
        return encodings, encodings.lengths

    def stop(self, found: tf.Tensor) -> tf.Operation:
        message = "a text without any token cannot be classified; the numbers of tokens are"
        return tf.debugging.Assert(tf.reduce_all(found > 0), [message, found])


def checked(checks: Iterable[TextCheck], encodings: Encodings) -> Encodings:
    """The same encodings; an error when the graph runs if a text is wrong."""
    for check in checks:
        encodings, found = check.found(encodings)
        with tf.control_dependencies([check.stop(found)]):
            # Identity ops wait for the check.
            ids, lengths = tf.identity(encodings.ids), tf.identity(encodings.lengths)
        encodings = encodings._replace(ids=ids, lengths=lengths)
    return encodings
