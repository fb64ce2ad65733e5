"""WordWeights: word embeddings times weights such as idf, as in sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import variable
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.word_weights.config import WordWeightsConfig


class WordWeights(Module):
    """`token_embeddings` times the weights of their tokens.

    A mean after this module divides by the sum of the weights.
    """

    def __init__(self, config: WordWeightsConfig):
        super().__init__()
        self.weight = variable(np.array(config.weights, np.float32), "weight")

    def __call__(self, features: Features) -> Features:
        """`token_embeddings` [batch, length, width] → the same, and `token_weights_sum` [batch]."""
        weights = tf.gather(self.weight, features["input_ids"]) * tf.cast(
            features["attention_mask"], tf.float32
        )
        tokens = features["token_embeddings"] * weights[:, :, tf.newaxis]
        return {
            **features,
            "token_embeddings": tokens,
            "token_weights_sum": tf.reduce_sum(weights, axis=1),
        }
