"""SparseAutoEncoder: the few largest of many latent features of an embedding, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.errors import WeightsError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, check_width
from tf_exporter.sparse import keep_largest
from tf_exporter.weights import Weights

_EPS = 1e-5


class SparseAutoEncoder(tf.Module):
    """relu(the k largest of (x − pre_bias)·W + latent_bias) (T. Wen et al., 2025)."""

    takes_texts, weighted = False, True
    unused = (r"stats_last_nonzero",)

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        width = dimensions.of(file, "type", "sentence_embedding")
        check_width(file, "input_dim", file.take("input_dim", int, required=True), width)
        hidden = file.take("hidden_dim", int, 512)
        k = file.take("k", int, 8)
        # The model's own limit, where it has one, goes before.
        self._k = file.take("max_active_dims", int, k)
        for key, value in (("k", k), ("hidden_dim", hidden)):
            if value < 1:
                raise file.unsupported(key, "a positive number")
        if self._k > hidden:
            raise file.unsupported("max_active_dims" if "max_active_dims" in file else "k", f"at most hidden_dim, {hidden}")
        self._normalizes = file.take("normalize", bool, False)
        for key in ("k_aux", "dead_threshold"):
            file.take(key, int)  # of training
        file.finish()
        self.pre_bias = variable(weights.take("pre_bias", (width,)), "pre_bias")
        self.latent_bias = variable(weights.take("latent_bias", (hidden,)), "latent_bias")
        # One matrix under two names, of which a file may have either or both.
        names = [name for name in ("encoder.weight", "decoder.linear.weight") if name in weights]
        matrices = [weights.take(name, (hidden, width)) for name in names or ["encoder.weight"]]
        if any((matrix != matrices[0]).any() for matrix in matrices):
            raise WeightsError(f"{weights.file}: tensors {' and '.join(names)} are to be the same")
        self.weight = variable(matrices[0].T, "weight")
        dimensions["sentence_embedding"] = hidden

    def __call__(self, features: Features) -> Features:
        """`sentence_embedding` float32 [batch, input_dim] → [batch, hidden_dim], at most k of a row not 0."""
        x = features["sentence_embedding"]
        if self._normalizes:
            x -= tf.reduce_mean(x, axis=-1, keepdims=True)
            variance = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True) / (x.shape[-1] - 1)
            x /= tf.sqrt(variance) + _EPS
        latent = tf.nn.bias_add(tf.matmul(x - self.pre_bias, self.weight), self.latent_bias)
        return {**features, "sentence_embedding": tf.nn.relu(keep_largest(latent, latent, self._k))}
