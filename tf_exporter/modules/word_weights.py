"""WordWeights: each word's embedding times a weight, such as its idf, as sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.modules.word_weights import WordWeightsConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class WordWeights(tf.Module):
    """`token_embeddings` times the weights of their tokens; the sum of the weights is what a mean behind it divides by."""

    takes_texts, weighted = False, True
    unused = (r"emb_layer\.weight",)
    """The reference makes it anew of the config."""

    def __init__(self, config: WordWeightsConfig, weights: Weights):
        super().__init__()
        self.weight = variable(np.array(config.weights, np.float32), "weight")

    def __call__(self, features: Features) -> Features:
        """`token_embeddings` [batch, length, width] → the same; `token_weights_sum` float32 [batch]."""
        weights = tf.gather(self.weight, features["input_ids"]) * tf.cast(features["attention_mask"], tf.float32)
        tokens = features["token_embeddings"] * weights[:, :, tf.newaxis]
        return {**features, "token_embeddings": tokens, "token_weights_sum": tf.reduce_sum(weights, axis=1)}
