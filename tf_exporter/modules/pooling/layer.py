"""Pooling: token embeddings → one vector for each text, as in sentence-transformers 6.2."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.pooling.config import PoolingConfig

_SMALLEST_COUNT = 1e-9


def _first(mask: tf.Tensor) -> tf.Tensor:
    """int32 [batch]: the first position with mask 1, or 0."""
    return tf.argmax(mask, axis=1, output_type=tf.int32)


def _cls(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    return tf.gather(tokens, _first(mask), batch_dims=1)


def _max(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    return tf.reduce_max(tf.where(mask[:, :, tf.newaxis] > 0, tokens, float("-inf")), axis=1)


def _denominator(count: tf.Tensor, weights_sum: tf.Tensor | None) -> tf.Tensor:
    """float32 [batch, 1]: the sum of the word weights if there is one, else the count."""
    return tf.maximum(count if weights_sum is None else weights_sum[:, tf.newaxis], _SMALLEST_COUNT)


def _sum_and_count(tokens: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    return tf.reduce_sum(tokens * weights, axis=1), tf.maximum(
        tf.reduce_sum(weights, axis=1), _SMALLEST_COUNT
    )


def _mean(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    total, count = _sum_and_count(tokens, mask)
    return total / _denominator(count, weights_sum)


def _mean_sqrt_len(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    total, count = _sum_and_count(tokens, mask)
    return total / tf.sqrt(_denominator(count, weights_sum))


def _weighted_mean(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    # Weights 1, 2, … from the first token. A prompt counts, even if it is left out.
    position = tf.range(1, tf.shape(mask)[1] + 1)[tf.newaxis, :]
    position -= _first(original_mask)[:, tf.newaxis]
    weights = tf.cast(mask * position, tf.float32)[:, :, tf.newaxis]
    return tf.reduce_sum(tokens * weights, axis=1) / _denominator(
        tf.reduce_sum(weights, axis=1), weights_sum
    )


def _last_token(
    tokens: tf.Tensor, mask: tf.Tensor, original_mask: tf.Tensor, weights_sum: tf.Tensor | None
) -> tf.Tensor:
    last = tf.shape(mask)[1] - 1 - tf.argmax(tf.reverse(mask, [1]), axis=1, output_type=tf.int32)
    present = tf.cast(tf.reduce_max(mask, axis=1), tf.float32)[:, tf.newaxis]
    return tf.gather(tokens, last, batch_dims=1) * present


POOLING_MODES: dict[
    str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | None], tf.Tensor]
] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
"""Mode → function of float32 tokens [batch, length, width], int32 masks [batch, length] without and
with the prompt, and the sum of word weights [batch], if any. It returns [batch, width]."""


class Pooling(Module):
    """`token_embeddings` → `sentence_embedding`, several modes concatenated."""

    def __init__(self, config: PoolingConfig):
        super().__init__()
        self.modes, self.leaves_prompt_out = config.modes, not config.includes_prompt

    def __call__(self, features: Features) -> Features:
        """float32 [batch, length, width] → [batch, modes · width]."""
        tokens, mask = features["token_embeddings"], features["attention_mask"]
        original_mask = mask
        if self.leaves_prompt_out and "prompt_length" in features:
            position = tf.range(tf.shape(mask)[1])[tf.newaxis, :]
            mask *= tf.cast(
                position >= (_first(mask) + features["prompt_length"])[:, tf.newaxis], tf.int32
            )
        weights_sum = features.get("token_weights_sum")
        pooled = [
            POOLING_MODES[mode](tokens, mask, original_mask, weights_sum) for mode in self.modes
        ]
        return {**features, "sentence_embedding": tf.concat(pooled, axis=-1)}
