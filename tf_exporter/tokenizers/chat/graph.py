"""Frames in TensorFlow ops: the constant text around texts, and the end of truncated prompts."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_exporter.tokenizers.chat.frame import NEWLINES, NOTHING, WHITE_SPACE, Frame, Slot
from tf_exporter.tokenizers.chat.settings import Use
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.ops import stripping
from tf_exporter.tokenizers.post_processors import Encodings

_CLASSES = {NOTHING: None, WHITE_SPACE: stripping.WHITE_SPACE, NEWLINES: stripping.NEWLINE}
"""What is stripped → the class of its characters."""


class ChatTexts:
    """Texts → token ids of prompts, truncated, for each use of a model.

    Args:
        tokenizer: the tokenizer, without special tokens around a text.
        frames: the frame of each use.
        suffixes: the token ids that end a truncated prompt of each use.
        max_length: the number of tokens that are kept; None: all.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        frames: Mapping[Use, Frame],
        suffixes: Mapping[Use, list[int]],
        max_length: int | None,
    ) -> None:
        self._tokenizer, self._frames, self._suffixes = tokenizer, frames, suffixes
        self._max_length = max_length

    def __call__(self, use: Use, *texts: tf.Tensor) -> Encodings:
        """Bytes [batch], for pairs twice → the token ids of each prompt."""
        with tf.device("/CPU:0"):
            encodings = self._tokenizer(framed(self._frames[use], *texts))
            suffix = self._suffixes[use]
            if self._max_length is None or not suffix:
                return encodings
            return _with_end(encodings, suffix[-self._max_length :], self._max_length)


def framed(frame: Frame, *texts: tf.Tensor) -> tf.Tensor:
    """Bytes [batch], for pairs twice → the prompts, bytes [batch]."""
    return tf.strings.join(
        [
            tf.constant(part.encode()) if isinstance(part, str) else _stripped(part, texts)
            for part in frame.parts
        ]
    )


def _stripped(slot: Slot, texts: tuple[tf.Tensor, ...]) -> tf.Tensor:
    return stripping.stripped(texts[slot.text], _CLASSES[slot.left], _CLASSES[slot.right])


def _with_end(encodings: Encodings, suffix: list[int], limit: int) -> Encodings:
    """The encodings with their last tokens replaced, where there are `limit` tokens."""
    full = encodings.lengths >= limit
    ends = tf.boolean_mask(encodings.starts[:, 0] + encodings.sizes[:, 0], full)
    places = ends[:, tf.newaxis] + tf.range(-len(suffix), 0)
    values = tf.broadcast_to(tf.constant(suffix, tf.int32), tf.shape(places))
    ids = tf.tensor_scatter_nd_update(
        encodings.ids, tf.reshape(places, [-1, 1]), tf.reshape(values, [-1])
    )
    return encodings._replace(ids=ids)
