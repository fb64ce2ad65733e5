"""Dense: a linear layer and an activation on an embedding, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TORCH_ACTIVATIONS, TORCH_MODULES, Activation
from tf_exporter.encoders.blocks import Linear, variable
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, check_width, read_names
from tf_exporter.weights import Weights

_DEFAULT = "torch.nn.modules.activation.Tanh"


class _PReLU(tf.Module):
    """`torch.nn.PReLU()`: one learned slope."""

    def __init__(self, weights: Weights):
        super().__init__()
        self.weight = variable(weights.take("activation_function.weight", (1,)), "weight")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(x >= 0, x, x * self.weight)


def _read_activation(file: ConfigFile, weights: Weights) -> Activation:
    path = file.take("activation_function", str, _DEFAULT)
    if not path.startswith("torch."):
        # The reference trusts no other path and takes its default instead.
        path = _DEFAULT
    module, _, name = path.rpartition(".")
    if module in TORCH_MODULES and name == "PReLU":
        return _PReLU(weights)
    if module not in TORCH_MODULES or name not in TORCH_ACTIVATIONS:
        supported = f"torch.nn's {', '.join(sorted({*TORCH_ACTIVATIONS, 'PReLU'}))}"
        raise UnsupportedError(file.file, "activation_function", path, supported)
    return TORCH_ACTIVATIONS[name]


class Dense(tf.Module):
    """activation(x·W + b), plus x (projected where the widths differ) with `use_residual`."""

    takes_texts, weighted = False, True

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        self._source, self._target, width = read_names(file, dimensions)
        in_features = file.take("in_features", int, required=True)
        out_features = file.take("out_features", int, required=True)
        check_width(file, "in_features", in_features, width)
        if out_features < 1:
            raise UnsupportedError(file.file, "out_features", out_features, "a positive number")
        self.linear = Linear(weights, ("linear",), in_features, out_features, bias=file.take("bias", bool, True))
        self.activation_function = _read_activation(file, weights)
        self._use_residual = file.take("use_residual", bool, False)
        self.residual = (
            Linear(weights, ("residual",), in_features, out_features, bias=False)
            if self._use_residual and in_features != out_features
            else None
        )
        self._out_features = out_features
        file.finish()
        dimensions[self._target] = out_features

    def __call__(self, features: Features) -> Features:
        """float32 [..., in_features] of one feature → [..., out_features] of another."""
        x = features[self._source]
        flat = tf.reshape(x, [-1, x.shape[-1]])
        y = self.activation_function(self.linear(flat))
        if self._use_residual:
            y = y + (flat if self.residual is None else self.residual(flat))
        shape = tf.concat([tf.shape(x)[:-1], [self._out_features]], 0)
        return {**features, self._target: tf.ensure_shape(tf.reshape(y, shape), [*x.shape[:-1], self._out_features])}
