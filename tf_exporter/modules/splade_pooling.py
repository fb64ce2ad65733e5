"""SpladePooling: one weight for each token of the vocabulary from the logits of all places, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.model.modules.splade_pooling import SpladePoolingConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class SpladePooling:
    """`token_embeddings`, logits [batch, length, vocab] → `sentence_embedding` [batch, vocab] (T. Formal et al., 2021)."""

    takes_texts = weighted = False

    def __init__(self, config: SpladePoolingConfig, weights: Weights | None):
        self._sums, self._logarithms = config.sums, config.logarithms

    def __call__(self, features: Features) -> Features:
        """As the class says."""
        mask = features["attention_mask"][:, :, tf.newaxis] > 0
        logits = tf.where(mask, features["token_embeddings"], 0.0)
        # The weights rise with the logits, so it is enough to have that of the highest.
        highest = tf.reduce_max(logits, axis=1)
        pooled = tf.reduce_sum(self._weights(logits), axis=1) if self._sums else self._weights(highest)
        return {**features, "sentence_embedding": pooled}

    def _weights(self, logits: tf.Tensor) -> tf.Tensor:
        weights = tf.nn.relu(logits)
        for _ in range(self._logarithms):
            weights = tf.math.log1p(weights)
        return weights
