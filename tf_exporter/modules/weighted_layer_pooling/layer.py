"""WeightedLayerPooling: a weighted mean of hidden states, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.layers.basic import variable
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.weighted_layer_pooling.config import WeightedLayerPoolingConfig


class WeightedLayerPooling(Module):
    """`token_embeddings` = Σ wᵢ·hᵢ / Σ wᵢ over the hidden states from `layer_start`.

    Hidden state 0 is the input of the first layer. As in the reference, nothing changes if the
    encoder's config has no `output_hidden_states`.
    """

    def __init__(self, config: WeightedLayerPoolingConfig, weights: Weights):
        super().__init__()
        self._start = config.start
        self.layer_weights = variable(
            weights.take("layer_weights", (config.count,)), "layer_weights"
        )

    def __call__(self, features: Features) -> Features:
        if "all_layer_embeddings" not in features:
            return features
        weighted = tf.tensordot(
            self.layer_weights, features["all_layer_embeddings"][self._start :], 1
        )
        tokens = weighted / tf.reduce_sum(self.layer_weights)
        return {
            **features,
            "token_embeddings": tf.ensure_shape(tokens, features["token_embeddings"].shape),
        }
