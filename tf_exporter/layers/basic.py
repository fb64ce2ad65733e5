"""Basic layers of encoders: linear layers, norms, embeddings.

Token matrices are flat, [batch · length, features]. Parameters have torch's names. The matrix of a
linear layer is [in, out], while torch has [out, in].
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.activations import (
    GELU_FLOOR,
    ROOT,
    Activation,
    floor,
    is_fused,
    is_gelu,
    plain_gelu,
)
from tf_exporter.layers.int8 import Int8Table, Product
from tf_exporter.layers.low_rank import of_linear, of_table
from tf_exporter.layers.training import trainable
from tf_exporter.model.weights import Weights


def variable(values: np.ndarray, name: str) -> tf.Variable:
    """A parameter. It is trainable only in an encoder that is exported for training."""
    return tf.Variable(values, trainable=trainable(), name=name)


def product(x: tf.Tensor, matrix: tf.Variable, transpose_b: bool = False) -> tf.Tensor:
    """The product, float32 [rows, in] → [rows, out]; computed in bfloat16 if the matrix has it."""
    if matrix.dtype == tf.bfloat16:
        return tf.cast(
            tf.matmul(tf.cast(x, tf.bfloat16), matrix, transpose_b=transpose_b), tf.float32
        )
    return tf.matmul(x, tf.cast(matrix, tf.float32), transpose_b=transpose_b)


class MatrixLayer(tf.Module):
    """A layer whose matrix may be stored in a reduced precision."""

    weight: tf.Variable
    """The matrix; missing where one in int8 replaces it."""
    is_product = False
    """Whether inputs are multiplied by the matrix; otherwise, its rows are looked up."""
    table: Int8Table | None = None
    """The matrix in int8, which rows are looked up in."""

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of int32 ids of any shape: float32 [..., features]."""
        if self.table is not None:
            return self.table.rows(ids)
        return tf.cast(tf.gather(self.weight, ids), tf.float32)

    def transposed_product(self, x: tf.Tensor) -> tf.Tensor:
        """The product with the transposed matrix: float32 [batch, features] → [batch, rows]."""
        if self.table is not None:
            return self.table.product(x)
        return product(x, self.weight, transpose_b=True)


class Linear(MatrixLayer):
    """x·W + b, which may join several torch layers over one input into one product."""

    is_product = True
    int8: Product | None = None
    """The product with the matrix in int8, and its bias; both variables are missing then."""

    def __init__(
        self,
        weights: Weights,
        names: tuple[str, ...],
        in_features: int,
        out_features: int | tuple[int, ...],
        bias: bool = True,
    ):
        """Joins the layers `names`; `out_features`: the width of every layer, or one width each."""
        super().__init__()
        self.names = names
        sizes = (out_features,) * len(names) if isinstance(out_features, int) else out_features
        kernels = [
            weights.take(f"{name}.weight", (size, in_features)).T
            for name, size in zip(names, sizes)
        ]
        self.weight = variable(np.concatenate(kernels, axis=1), "weight")
        biases = [weights.take(f"{name}.bias", (size,)) for name, size in zip(names, sizes) if bias]
        self.bias = variable(np.concatenate(biases), "bias") if bias else None
        self.change = of_linear(weights, names, in_features, sizes)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, in] → float32 [rows, out]"""
        if self.in_bfloat16:
            return tf.cast(self.as_bfloat16(x), tf.float32)
        if self.int8 is not None:
            y = self.int8(x)
            return y if self.change is None else self.change.add_product(y, x)
        y = product(x, self.weight)
        y = y if self.change is None else self.change.add_product(y, x)
        return y if self.bias is None else tf.nn.bias_add(y, self.bias)

    @property
    def in_bfloat16(self) -> bool:
        """Whether all is computed in bfloat16, so that TensorFlow makes it one op."""
        return self.int8 is None and self.change is None and self.weight.dtype == tf.bfloat16

    def as_bfloat16(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, in] → bfloat16 [rows, out], where `in_bfloat16`."""
        y = tf.matmul(tf.cast(x, tf.bfloat16), self.weight)
        return y if self.bias is None else tf.nn.bias_add(y, tf.cast(self.bias, tf.bfloat16))


def inverse_root(x: tf.Tensor) -> tf.Tensor:
    """1 / √x in float32, rounded once.

    TensorFlow's float32 op is up to 3 units in the last place off, and more often too small.
    """
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


class Embedding(MatrixLayer):
    """A table of embeddings, looked up by id."""

    device: str | None = None
    """The device that looks rows up; None: TensorFlow chooses."""

    def __init__(self, weights: Weights, name: str, rows: int, features: int):
        super().__init__()
        # Named after the tensor, so that users can find it in a SavedModel.
        self.weight = variable(weights.take(f"{name}.weight", (rows, features)), name)
        self.change = of_table(weights, name, rows, features)

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 ids of any shape → float32 [..., features]"""
        with tf.device(self.device):
            y = self.rows(ids)
            return y if self.change is None else self.change.add_rows(y, ids)

    def first(self, count: tf.Tensor) -> tf.Tensor:
        """The first rows, float32 [count, features]."""
        if self.table is not None:
            return self.table.first(count)
        return tf.cast(self.weight[:count], tf.float32)


class RMSNorm(tf.Module):
    """x / √(mean(x²) + ε) · (weight + offset) over the last axis (B. Zhang, R. Sennrich, 2019)."""

    def __init__(self, weights: Weights, name: str, features: int, eps: float, offset: float = 0.0):
        super().__init__()
        self.weight = variable(
            weights.take(f"{name}.weight", (features,)) + np.float32(offset), "weight"
        )
        self.eps = eps

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[..., features] → [..., features]"""
        return (
            x
            * inverse_root(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.eps)
            * self.weight
        )


class FeedForward(tf.Module):
    """Two linear layers with an activation between, or activation(gate) · other half if gated."""

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
        """`up`: the layers that are joined into the first one; `inner`: the width between the two.

        `gate_first`: whether the gate is the first half; `down_bias`: `bias` by default.
        """
        super().__init__()
        self._gated, self._gate_first = gated, gate_first
        self.up = Linear(weights, up, features, inner * (1 + gated) // len(up), bias)
        self.down = Linear(
            weights, (down,), inner, features, bias if down_bias is None else down_bias
        )
        self._activation = activation
        self._fuses = not gated and is_fused(activation)
        self.floor = None if gated else floor(activation)
        """How far the inputs of `down` go below 0 if that is little; None: far, or not known."""

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        if self._fuses and self.up.in_bfloat16 and self.down.in_bfloat16:
            return self.down(self._activation(self.up.as_bfloat16(x)))
        x = self.up(x)
        if not self._gated:
            return self.down(self._activation(x))
        gate, x = tf.split(x, 2, axis=-1)
        if not self._gate_first:
            gate, x = x, gate
        return self.down(self._activation(gate) * x)

    def simplify_gelu(self, sizes: np.ndarray) -> None:
        """Moves the constants of an exact GELU into the matrices, which are float32 variables.

        `sizes`: what the inputs of `down` are divided by, and its rows multiplied by, float32
        [inner].
        """
        changed = self.up.change is not None or self.down.change is not None
        if self._gated or changed or not is_gelu(self._activation):
            return
        self.up.weight.assign(self.up.weight / ROOT)
        if self.up.bias is not None:
            self.up.bias.assign(self.up.bias / ROOT)
        self.down.weight.assign(self.down.weight * (sizes / np.float32(ROOT))[:, np.newaxis])
        self._activation, self.floor = plain_gelu(sizes), GELU_FLOOR * ROOT
