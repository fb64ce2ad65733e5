"""Parts that encoders are made of. Token matrices are flat, [batch · length, features], between attentions.

Parameters carry torch's names; a torch `Linear` keeps its matrix as [out, in], here it is [in, out].
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tf_exporter.activations import Activation
from tf_exporter.tokenizers.tables import graph_constant
from tf_exporter.weights import Weights

MASKED = float(np.finfo(np.float32).min)
"""Added to the scores of padding: exactly zero after the softmax, finite before it."""


def variable(values: np.ndarray, name: str) -> tf.Variable:
    """A parameter that is never trained."""
    return tf.Variable(values, trainable=False, name=name)


class Linear(tf.Module):
    """x·W + b; several torch layers over one input can be joined into one product."""

    def __init__(self, weights: Weights, names: tuple[str, ...], in_features: int, out_features: int, bias: bool = True):
        """`names`: the layers that are joined, each of `out_features`."""
        super().__init__()
        shape = (out_features, in_features)
        kernel = np.concatenate([weights.take(f"{name}.weight", shape).T for name in names], axis=1)
        self.weight = variable(kernel, "weight")
        self.bias = (
            variable(np.concatenate([weights.take(f"{name}.bias", shape[:1]) for name in names]), "bias") if bias else None
        )

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, in] → [rows, out]"""
        product = tf.matmul(x, self.weight)
        return product if self.bias is None else tf.nn.bias_add(product, self.bias)


class LayerNorm(tf.Module):
    """`torch.nn.LayerNorm` over the last axis."""

    def __init__(self, weights: Weights, name: str, features: int, eps: float):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (features,)), "weight")
        self.bias = variable(weights.take(f"{name}.bias", (features,)), "bias")
        self.eps = eps

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + self.eps) * self.weight + self.bias


class Embedding(tf.Module):
    """A table of rows."""

    def __init__(self, weights: Weights, name: str, rows: int, features: int):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (rows, features)), "weight")

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 ids of any shape → [..., features]"""
        return tf.gather(self.weight, ids)


class RMSNorm(tf.Module):
    """x / √(mean(x²) + ε) · weight over the last axis (B. Zhang and R. Sennrich, 2019)."""

    def __init__(self, weights: Weights, name: str, features: int, eps: float):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (features,)), "weight")
        self.eps = eps

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[..., features] → [..., features]"""
        return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.eps) * self.weight


class FeedForward(tf.Module):
    """Two products with an activation between them; `gate`: the activation of another product is a factor."""

    def __init__(
        self,
        weights: Weights,
        up: str,
        down: str,
        features: int,
        inner: int,
        activation: Activation,
        *,
        gate: str | None = None,
        bias: bool = True,
    ):
        super().__init__()
        self._gated = gate is not None
        self.up = Linear(weights, (up,) if gate is None else (gate, up), features, inner, bias)
        self.down = Linear(weights, (down,), inner, features, bias)
        self._activation = activation

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        x = self.up(x)
        if not self._gated:
            return self.down(self._activation(x))
        gate, x = tf.split(x, 2, axis=-1)
        return self.down(self._activation(gate) * x)


class SelfAttention(tf.Module):
    """Multi-head attention with an additive bias (A. Vaswani et al., 2017), one product for query, key and value."""

    def __init__(
        self,
        weights: Weights,
        at: str,
        names: tuple[str, str, str, str],
        features: int,
        heads: int,
        *,
        size: int | None = None,
        scale: float | None = None,
        bias: bool = True,
    ):
        """`names`: query, key, value and output layer, under the name `at`; `size` of a head; `scale` of the products."""
        super().__init__()
        query, key, value, output = (f"{at}.{name}" for name in names)
        self._heads, self._size = heads, features // heads if size is None else size
        self._scale = self._size**-0.5 if scale is None else scale
        inner = heads * self._size
        self.query_key_value = Linear(weights, (query, key, value), features, inner, bias)
        self.output = Linear(weights, (output,), inner, features, bias)

    def __call__(self, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """[batch · length, features] and a bias that broadcasts to [batch, heads, length, length] → like x."""
        joined = tf.reshape(self.query_key_value(x), [batch, length, 3, self._heads, self._size])
        query, key, value = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=3)
        scores = tf.matmul(query, key, transpose_b=True) * self._scale + bias
        mixed = tf.matmul(tf.nn.softmax(scores), value)
        flat = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size])
        return self.output(flat)


class PostNormLayer(tf.Module):
    """BERT's layer: attention and feed-forward, a layer norm after each sum."""

    def __init__(self, attention: SelfAttention, attention_norm: LayerNorm, ffn: FeedForward, output_norm: LayerNorm):
        super().__init__()
        self.attention, self.attention_norm = attention, attention_norm
        self.ffn, self.output_norm = ffn, output_norm

    def __call__(self, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """As `SelfAttention`."""
        x = self.attention_norm(self.attention(x, bias, batch, length) + x)
        return self.output_norm(self.ffn(x) + x)


class PreNormLayer(tf.Module):
    """As `PostNormLayer` with the norms before what is summed."""

    def __init__(self, attention_norm: RMSNorm, attention: SelfAttention, ffn_norm: RMSNorm, ffn: FeedForward):
        super().__init__()
        self.attention_norm, self.attention = attention_norm, attention
        self.ffn_norm, self.ffn = ffn_norm, ffn

    def __call__(self, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """As `SelfAttention`."""
        x = x + self.attention(self.attention_norm(x), bias, batch, length)
        return x + self.ffn(self.ffn_norm(x))


class RelativeBias(tf.Module):
    """One learned number a head for each bucket of distances (C. Raffel et al., 2019)."""

    def __init__(self, weights: Weights, name: str, rows: int, heads: int, buckets: int, max_distance: int):
        """`rows` of the table, of which `buckets` are used; all distances from `max_distance` on share the last."""
        super().__init__()
        self.table = Embedding(weights, name, rows, heads)
        self._max_distance = max_distance
        self._buckets = graph_constant(relative_buckets(buckets, max_distance))

    def __call__(self, length: tf.Tensor) -> tf.Tensor:
        """float32 [1, heads, length, length]"""
        column = tf.range(length)
        distance = column[tf.newaxis, :] - column[:, tf.newaxis]
        distance = tf.clip_by_value(distance, -self._max_distance, self._max_distance)
        values = self.table(tf.gather(self._buckets, distance + self._max_distance))
        return tf.transpose(values, [2, 0, 1])[tf.newaxis]


def relative_buckets(buckets: int, max_distance: int) -> np.ndarray:
    """int32 [2 · max_distance + 1]: T5's bucket of each distance from −max_distance to max_distance."""
    distance = np.arange(-max_distance, max_distance + 1)
    half = buckets // 2
    exact = half // 2
    size = np.abs(distance)
    # float32, as the reference computes it: the logarithm decides where a bucket ends.
    ratio = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(max_distance / exact))
    large = np.minimum(exact + (ratio * np.float32(half - exact)).astype(np.int32), half - 1)
    return ((distance > 0) * half + np.where(size < exact, size, large)).astype(np.int32)


def padding_bias(attention_mask: tf.Tensor) -> tf.Tensor:
    """int32 mask [batch, length] → float32 [batch, 1, 1, length], 0 for tokens and `MASKED` for padding."""
    return (1.0 - tf.cast(attention_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def positions_of_tokens(input_ids: tf.Tensor, padding_id: int) -> tf.Tensor:
    """int32 [batch, length]: padding_id + 1, + 2, … for all ids but `padding_id`, which has its own number as position.

    From the ids, not the mask: a padding token written in the text has the padding's position too.
    """
    present = tf.cast(input_ids != padding_id, tf.int32)
    return tf.cumsum(present, axis=1) * present + padding_id
