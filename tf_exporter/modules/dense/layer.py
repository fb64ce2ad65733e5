"""Dense: a linear layer and an activation on an embedding, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.layers.activations import TORCH_ACTIVATIONS, Activation
from tf_exporter.layers.basic import Linear, variable
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.dense.config import LEARNED, DenseConfig
from tf_exporter.modules.features import Features


class _PReLU(tf.Module):
    """`torch.nn.PReLU()`: one learned slope."""

    def __init__(self, weights: Weights):
        super().__init__()
        self.weight = variable(weights.take("activation_function.weight", (1,)), "weight")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(x >= 0, x, x * self.weight)


class Dense(Module):
    """activation(x·W + b). `use_residual` adds x, projected if the widths differ."""

    def __init__(self, config: DenseConfig, weights: Weights):
        super().__init__()
        in_features, out_features = config.in_features, config.out_features
        self.linear = Linear(weights, ("linear",), in_features, out_features, bias=config.bias)
        self.activation_function: Activation = (
            _PReLU(weights)
            if config.activation == LEARNED
            else TORCH_ACTIVATIONS[config.activation]
        )
        self._use_residual = config.use_residual
        self.residual = (
            Linear(weights, ("residual",), in_features, out_features, bias=False)
            if config.use_residual and in_features != out_features
            else None
        )
        self._source, self._target, self._out_features = config.source, config.target, out_features

    def __call__(self, features: Features) -> Features:
        """One feature, float32 [..., in_features] → another one, [..., out_features]."""
        x = features[self._source]
        flat = tf.reshape(x, [-1, x.shape[-1]])
        y = self.activation_function(self.linear(flat))
        if self._use_residual:
            y = y + (flat if self.residual is None else self.residual(flat))
        shape = tf.concat([tf.shape(x)[:-1], [self._out_features]], 0)
        return {
            **features,
            self._target: tf.ensure_shape(
                tf.reshape(y, shape), [*x.shape[:-1], self._out_features]
            ),
        }
