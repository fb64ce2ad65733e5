"""The base class of heads."""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf


class Head(tf.Module):
    """A layer after an encoder: a function of its last hidden state."""

    width: int
    """The size of the last axis of the output."""
    takes_first = False
    """Whether it reads the first position of a row, which then has to be a token, not padding."""
    takes_last = False
    """Whether it reads the last position of a row, which then has to be a token, not padding."""
    pad_id: int | None = None
    """The id that it treats as padding, whatever the tokenizer's padding id is."""

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        """The output for float32 [batch, length, hidden], mask and ids int32 [batch, length]."""
        raise NotImplementedError

    def takes_padding(self, pad_id: int, always: Collection[int]) -> bool:
        """Whether the reference's head may read padding with this id in place of a token.

        `always`: the ids of the special tokens that every text has.
        """
        return False
