"""Activation functions by the names that transformers and torch have for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

Activation = Callable[[tf.Tensor], tf.Tensor]

_TWICE = 2 * math.sqrt(2 / math.pi)
ROOT = math.sqrt(2)
GELU_FLOOR = 0.17
"""How far GELU goes below 0, rounded up."""


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=False)


def plain_gelu(sizes: np.ndarray) -> Activation:
    """√2 · GELU(√2x) / sizes: with the constants elsewhere, it takes four passes over x.

    `sizes`: float32 [features], by which columns are divided.
    """
    factors = 1 / sizes
    return lambda x: x * (tf.math.erf(x) * factors + factors)


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """½x(1 + tanh u) as x · sigmoid(2u), u = √(2/π)(x + 0.044715x³).

    TensorFlow's own form loses digits where x is negative, as 1 + tanh u cancels there.
    """
    return x * tf.sigmoid(x * (_TWICE + _TWICE * 0.044715 * tf.square(x)))


def _mish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.tanh(tf.nn.softplus(x))


def _leaky_relu(slope: float) -> Activation:
    return lambda x: tf.nn.leaky_relu(x, alpha=slope)


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + 3.0) / 6.0


def _silu(x: tf.Tensor) -> tf.Tensor:
    return x * tf.sigmoid(x)


TRANSFORMERS_ACTIVATIONS: dict[str, Activation] = {
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_accurate": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "gelu_python_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "relu": tf.nn.relu,
    "relu2": lambda x: tf.square(tf.nn.relu(x)),
    "relu6": tf.nn.relu6,
    "leaky_relu": _leaky_relu(0.01),
    "silu": _silu,
    "swish": _silu,
    "mish": _mish,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}
"""`transformers.activations.ACT2FN`, for `hidden_act` and `activation` of a config."""

TORCH_ACTIVATIONS: dict[str, Activation] = {
    "CELU": tf.nn.elu,
    "ELU": tf.nn.elu,
    "GELU": _gelu,
    "Hardshrink": lambda x: tf.where(tf.abs(x) > 0.5, x, 0.0),
    "Hardsigmoid": _hard_sigmoid,
    "Hardswish": lambda x: x * _hard_sigmoid(x),
    "Hardtanh": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "Identity": tf.identity,
    "LeakyReLU": _leaky_relu(0.01),
    "LogSigmoid": tf.math.log_sigmoid,
    "Mish": _mish,
    "RReLU": _leaky_relu((1 / 8 + 1 / 3) / 2),
    "ReLU": tf.nn.relu,
    "ReLU6": tf.nn.relu6,
    "SELU": tf.nn.selu,
    "SiLU": _silu,
    "Sigmoid": tf.sigmoid,
    "Softplus": tf.nn.softplus,
    "Softshrink": lambda x: tf.sign(x) * tf.nn.relu(tf.abs(x) - 0.5),
    "Softsign": tf.nn.softsign,
    "Tanh": tf.tanh,
    "Tanhshrink": lambda x: x - tf.tanh(x),
}
"""Classes of `torch.nn`, with their default arguments. PReLU has a weight, so it is not here."""

_FLOORS: dict[Activation, float] = {
    _gelu: GELU_FLOOR,
    _gelu_tanh: 0.1701,
    tf.nn.relu: 0.0,
    tf.nn.relu6: 0.0,
    _silu: 0.2785,
}


def floor(activation: Activation) -> float | None:
    """How far results go below 0 if that is little; None: far, or not known."""
    return _FLOORS.get(activation)


def is_gelu(activation: Activation) -> bool:
    """Whether it is the exact GELU."""
    return activation is _gelu


def is_fused(activation: Activation) -> bool:
    """Whether TensorFlow makes one op of a product, a bias and this activation on x86."""
    return activation is _gelu or activation is tf.nn.relu
