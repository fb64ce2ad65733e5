"""The projection of Stanford's ColBERT, whose matrix is among the weights of its encoder."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.layers.basic import Linear
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, open_weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.features import Features

_TOKENS = "token_embeddings"


class InlineDense(Module):
    """x·W for each token."""

    def __init__(self, source: ModelSource, folder: str, dimensions: Dimensions):
        """Reads the matrix, and updates the width of tokens in `dimensions`."""
        super().__init__()
        weights = open_weights(source, folder)
        matrix = weights.take_matrix("linear.weight")
        outer, inner = matrix.shape
        own = Weights.of_arrays(weights.file, {"linear.weight": matrix})
        self.linear = Linear(own, ("linear",), dimensions[_TOKENS] or inner, outer, bias=False)
        dimensions[_TOKENS] = self._width = outer

    def __call__(self, features: Features) -> Features:
        """`token_embeddings`, float32 [batch, length, width]."""
        x = features[_TOKENS]
        shape = tf.concat([tf.shape(x)[:-1], [self._width]], 0)
        y = tf.reshape(self.linear(tf.reshape(x, [-1, x.shape[-1]])), shape)
        return {**features, _TOKENS: tf.ensure_shape(y, [*x.shape[:-1], self._width])}
