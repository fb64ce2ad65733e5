"""WeightedLayerPooling: a weighted mean of an encoder's layers, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, read_renamed_width
from tf_exporter.weights import Weights


class WeightedLayerPooling(tf.Module):
    """`token_embeddings` = Σ wᵢ·hᵢ / Σ wᵢ over the layers from `layer_start`, 0 being what goes into the first.

    Nothing, as in the reference, where the encoder's config has no `output_hidden_states`.
    """

    takes_texts, weighted = False, True

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        read_renamed_width(file, "embedding_dimension", "word_embedding_dimension", dimensions)
        layers, self._start = file.take("num_hidden_layers", int, 12), file.take("layer_start", int, 4)
        given = dimensions.get("all_layer_embeddings")
        if given is not None and layers != given - 1:
            raise file.unsupported("num_hidden_layers", f"{given - 1}, the encoder's")
        if not 0 <= self._start <= layers:
            raise file.unsupported("layer_start", f"one of 0 … {layers}")
        self.layer_weights = variable(weights.take("layer_weights", (layers + 1 - self._start,)), "layer_weights")
        file.finish()

    def __call__(self, features: Features) -> Features:
        """As the class says; [batch, length, hidden]."""
        if "all_layer_embeddings" not in features:
            return features
        weighted = tf.tensordot(self.layer_weights, features["all_layer_embeddings"][self._start :], 1)
        tokens = weighted / tf.reduce_sum(self.layer_weights)
        return {**features, "token_embeddings": tf.ensure_shape(tokens, features["token_embeddings"].shape)}
