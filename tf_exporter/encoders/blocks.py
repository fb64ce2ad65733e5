"""Parts that encoders are made of: products, norms, embeddings. Token matrices are flat, [batch · length, features].

Parameters carry torch's names; a torch `Linear` keeps its matrix as [out, in], here it is [in, out].
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.activations import Activation
from tf_exporter.encoders.training import trainable
from tf_exporter.weights import Weights


def variable(values: np.ndarray, name: str) -> tf.Variable:
    """A parameter; trained only where an encoder is exported for that."""
    return tf.Variable(values, trainable=trainable(), name=name)


def product(x: tf.Tensor, matrix: tf.Variable, transpose_b: bool = False) -> tf.Tensor:
    """float32 [rows, in] and a matrix of any precision → float32 [rows, out]; computed in bfloat16 if that is the matrix's."""
    if matrix.dtype == tf.bfloat16:
        return tf.cast(tf.matmul(tf.cast(x, tf.bfloat16), matrix, transpose_b=transpose_b), tf.float32)
    return tf.matmul(x, tf.cast(matrix, tf.float32), transpose_b=transpose_b)


def rows(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """A table of any precision and int32 ids of any shape → float32 [..., features]"""
    return tf.cast(tf.gather(table, ids), tf.float32)


class Linear(tf.Module):
    """x·W + b; several torch layers over one input can be joined into one product."""

    def __init__(
        self,
        weights: Weights,
        names: tuple[str, ...],
        in_features: int,
        out_features: int | tuple[int, ...],
        bias: bool = True,
    ):
        """`names`: the layers that are joined, all of `out_features` or each of its own."""
        super().__init__()
        sizes = (out_features,) * len(names) if isinstance(out_features, int) else out_features
        kernels = [weights.take(f"{name}.weight", (size, in_features)).T for name, size in zip(names, sizes)]
        self.weight = variable(np.concatenate(kernels, axis=1), "weight")
        biases = [weights.take(f"{name}.bias", (size,)) for name, size in zip(names, sizes) if bias]
        self.bias = variable(np.concatenate(biases), "bias") if bias else None

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, in] → [rows, out]"""
        y = product(x, self.weight)
        return y if self.bias is None else tf.nn.bias_add(y, self.bias)


def inverse_root(x: tf.Tensor) -> tf.Tensor:
    """1 / √x, float32, rounded once; in float32 TensorFlow's is up to 3 units in the last place off, more often too small."""
    return tf.cast(tf.math.rsqrt(tf.cast(x, tf.float64)), tf.float32)


class LayerNorm(tf.Module):
    """`torch.nn.LayerNorm` over the last axis."""

    def __init__(self, weights: Weights, name: str, features: int, eps: float, bias: bool = True):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (features,)), "weight")
        self.bias = variable(weights.take(f"{name}.bias", (features,)), "bias") if bias else None
        self.eps = eps

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
        x = (x - mean) * inverse_root(variance + self.eps) * self.weight
        return x if self.bias is None else x + self.bias


class Embedding(tf.Module):
    """A table of rows."""

    device: str | None = None
    """Where rows are looked up, if not where TensorFlow likes."""

    def __init__(self, weights: Weights, name: str, rows: int, features: int):
        super().__init__()
        # Its own name, by which it can be found in a SavedModel.
        self.weight = variable(weights.take(f"{name}.weight", (rows, features)), name)

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 ids of any shape → [..., features]"""
        with tf.device(self.device):
            return rows(self.weight, ids)

    def first(self, count: tf.Tensor) -> tf.Tensor:
        """The first rows, float32 [count, features]"""
        return tf.cast(self.weight[:count], tf.float32)


class RMSNorm(tf.Module):
    """x / √(mean(x²) + ε) · (weight + offset) over the last axis (B. Zhang and R. Sennrich, 2019)."""

    def __init__(self, weights: Weights, name: str, features: int, eps: float, offset: float = 0.0):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (features,)) + np.float32(offset), "weight")
        self.eps = eps

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[..., features] → [..., features]"""
        return x * inverse_root(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.eps) * self.weight


class FeedForward(tf.Module):
    """Two products with an activation between them; where gated, the first makes two halves: activation(gate) · other."""

    def __init__(
        self,
        weights: Weights,
        up: tuple[str, ...],
        down: str,
        features: int,
        inner: int,
        activation: Activation,
        *,
        gated: bool = False,
        gate_first: bool = True,
        bias: bool = True,
        down_bias: bool | None = None,
    ):
        """`up`: the layers of the first product; `bias` of both products, where the second has no `down_bias` of its own."""
        super().__init__()
        self._gated, self._gate_first = gated, gate_first
        self.up = Linear(weights, up, features, inner * (1 + gated) // len(up), bias)
        self.down = Linear(weights, (down,), inner, features, bias if down_bias is None else down_bias)
        self._activation = activation

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        x = self.up(x)
        if not self._gated:
            return self.down(self._activation(x))
        gate, x = tf.split(x, 2, axis=-1)
        if not self._gate_first:
            gate, x = x, gate
        return self.down(self._activation(gate) * x)
