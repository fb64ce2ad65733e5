"""WeightedLayerPooling: a weighted mean of an encoder's layers, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.modules.weighted_layer_pooling import WeightedLayerPoolingConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class WeightedLayerPooling(tf.Module):
    """`token_embeddings` = Σ wᵢ·hᵢ / Σ wᵢ over the layers from `layer_start`, 0 being what goes into the first.

    Nothing, as in the reference, where the encoder's config has no `output_hidden_states`.
    """

    takes_texts, weighted = False, True

    def __init__(self, config: WeightedLayerPoolingConfig, weights: Weights):
        super().__init__()
        self._start = config.start
        self.layer_weights = variable(weights.take("layer_weights", (config.count,)), "layer_weights")

    def __call__(self, features: Features) -> Features:
        """As the class says; [batch, length, hidden]."""
        if "all_layer_embeddings" not in features:
            return features
        weighted = tf.tensordot(self.layer_weights, features["all_layer_embeddings"][self._start :], 1)
        tokens = weighted / tf.reduce_sum(self.layer_weights)
        return {**features, "token_embeddings": tf.ensure_shape(tokens, features["token_embeddings"].shape)}
