"""SpladePooling: logits → one weight for each vocabulary token, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.splade_pooling.config import SpladePoolingConfig


class SpladePooling(Module):
    """Logits in `token_embeddings` [batch, length, vocab] → `sentence_embedding` [batch, vocab].

    Source: T. Formal et al., 2021.
    """

    def __init__(self, config: SpladePoolingConfig):
        super().__init__()
        self._sums, self._logarithms = config.sums, config.logarithms

    def __call__(self, features: Features) -> Features:
        mask = features["attention_mask"][:, :, tf.newaxis] > 0
        logits = tf.where(mask, features["token_embeddings"], 0.0)
        # The weights rise with the logits, so the highest weight is that of the highest logit.
        highest = tf.reduce_max(logits, axis=1)
        pooled = (
            tf.reduce_sum(self._weights(logits), axis=1) if self._sums else self._weights(highest)
        )
        return {**features, "sentence_embedding": pooled}

    def _weights(self, logits: tf.Tensor) -> tf.Tensor:
        weights = tf.nn.relu(logits)
        for _ in range(self._logarithms):
            weights = tf.math.log1p(weights)
        return weights
