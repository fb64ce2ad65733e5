"""SparseAutoEncoder: the largest latent features, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.errors import WeightsError
from tf_exporter.layers.basic import variable
from tf_exporter.layers.sparse import keep_largest
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.sparse_auto_encoder.config import SparseAutoEncoderConfig

_EPS = 1e-5


class SparseAutoEncoder(Module):
    """relu(the k largest of (x − pre_bias)·W + latent_bias).

    Source: T. Wen et al., 2025.
    """

    unused = (r"stats_last_nonzero",)

    def __init__(self, config: SparseAutoEncoderConfig, weights: Weights):
        super().__init__()
        width, hidden = config.width, config.hidden
        self._k, self._normalizes = config.k, config.normalizes
        self.pre_bias = variable(weights.take("pre_bias", (width,)), "pre_bias")
        self.latent_bias = variable(weights.take("latent_bias", (hidden,)), "latent_bias")
        # One matrix has two names. A file may have either or both.
        names = [name for name in ("encoder.weight", "decoder.linear.weight") if name in weights]
        matrices = [weights.take(name, (hidden, width)) for name in names or ["encoder.weight"]]
        if any((matrix != matrices[0]).any() for matrix in matrices):
            raise WeightsError(f"{weights.file}: tensors {' and '.join(names)} must be equal")
        self.weight = variable(matrices[0].T, "weight")

    def __call__(self, features: Features) -> Features:
        """float32 [batch, input_dim] → [batch, hidden_dim], at most k nonzero values in a row."""
        x = features["sentence_embedding"]
        if self._normalizes:
            x -= tf.reduce_mean(x, axis=-1, keepdims=True)
            variance = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True) / (x.shape[-1] - 1)
            x /= tf.sqrt(variance) + _EPS
        latent = tf.nn.bias_add(tf.matmul(x - self.pre_bias, self.weight), self.latent_bias)
        return {**features, "sentence_embedding": tf.nn.relu(keep_largest(latent, latent, self._k))}
