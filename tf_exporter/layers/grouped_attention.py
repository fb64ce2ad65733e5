"""Attention in which groups of heads share keys and values."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import Linear, RMSNorm, inverse_root, variable
from tf_exporter.layers.long_texts import LongBias, attend_in_blocks, soft_capped
from tf_exporter.layers.rope import Temperature
from tf_exporter.layers.rotary import Angles, rotated
from tf_exporter.model.weights import Weights


class HeadNorm(RMSNorm):
    """An RMSNorm of each head: `q_norm` for queries and `k_norm` for keys."""

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        size: int,
        heads: tuple[int, int],
        eps: float,
        offset: float,
    ):
        """Reads the weights; `heads`: the numbers of query heads and of key heads."""
        tf.Module.__init__(self)
        gains = [
            weights.take(f"{prefix}.{name}.weight", (size,)) + np.float32(offset)
            for name in ("q_norm", "k_norm")
        ]
        self.weight = variable(np.repeat(np.stack(gains), heads, axis=0)[:, np.newaxis], "weight")
        self.eps = eps


def query_factors(temperature: Temperature, attention_mask: tf.Tensor) -> tf.Tensor:
    """The factors of queries, float32 [batch, 1, length, 1]; positions start at the first token.

    `attention_mask`: int32 [batch, length].
    """
    position = tf.cast(tf.cumsum(attention_mask, axis=1, exclusive=True), tf.float32)
    factors = 1 + temperature.beta * tf.math.log(1 + tf.floor(position / temperature.length))
    return factors[:, tf.newaxis, :, tf.newaxis]


class GroupedAttention(tf.Module):
    """Grouped-query attention (J. Ainslie et al., 2023) with rotary positions."""

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        features: int,
        heads: tuple[int, int],
        size: int,
        *,
        scale: float | None = None,
        bias: bool = False,
        output_bias: bool = False,
        norm: tuple[float, float] | None = None,
        norms_values: bool = False,
        fused: bool = False,
        softcap: float | None = None,
    ):
        """Reads the weights.

        Args:
            weights: the checkpoint.
            prefix: the start of the names of its tensors.
            features: the width of a token.
            heads: the number of query heads, and of key and value heads, which divides it.
            size: the size of a head.
            scale: the factor of the scores; None: 1 / √size.
            bias: whether queries, keys and values have biases.
            output_bias: whether the output product has a bias.
            norm: epsilon and offset of `HeadNorm`.
            norms_values: whether the values of each head are normed too, without weights.
            fused: whether one tensor, `qkv_proj`, has the weights of queries, keys and values.
            softcap: the bound of the scores, which are softcap · tanh(score / softcap).
        """
        super().__init__()
        self._heads, self._shared = heads
        self._size, self._scale = size, size**-0.5 if scale is None else scale
        self._softcap = softcap
        outer, inner = self._heads * size, self._shared * size
        names = tuple(f"{prefix}.{name}_proj" for name in (["qkv"] if fused else "qkv"))
        widths = (outer + 2 * inner,) if fused else (outer, inner, inner)
        self.query_key_value = Linear(weights, names, features, widths, bias)
        self.output = Linear(weights, (f"{prefix}.o_proj",), outer, features, output_bias)
        self.norm = None if norm is None else HeadNorm(weights, prefix, size, heads, *norm)
        self._value_eps = norm[0] if norm is not None and norms_values else None

    def __call__(
        self,
        x: tf.Tensor,
        bias: tf.Tensor | LongBias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None,
        factors: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mixes the tokens of each text: float32 [batch · length, features] → the same shape.

        `factors`: the result of `query_factors`, if the model has such factors.
        """
        heads, shared, size = self._heads, self._shared, self._size
        query, key, value = self._query_key_value(x, batch, length, angles)
        query = query if factors is None else query * factors
        if isinstance(bias, LongBias):
            mixed = attend_in_blocks(query, key, value, bias, self._scale, self._softcap)
        else:
            # The queries that share a key are rows of one matrix, so that no key is repeated.
            rows = heads // shared * length
            scores = tf.matmul(
                tf.reshape(query, [batch, shared, rows, size]), key, transpose_b=True
            )
            scores = soft_capped(scores * self._scale, self._softcap)
            scores = tf.reshape(scores, [batch, heads, length, length]) + bias
            mixed = tf.matmul(
                tf.reshape(tf.nn.softmax(scores), [batch, shared, rows, length]), value
            )
            mixed = tf.reshape(mixed, [batch, heads, length, size])
        mixed = tf.transpose(mixed, [0, 2, 1, 3])
        return self.output(tf.reshape(mixed, [batch * length, heads * size]))

    def _query_key_value(
        self, x: tf.Tensor, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Queries, keys and values, float32 [batch, heads or shared, length, size] each."""
        heads, shared, size = self._heads, self._shared, self._size
        joined = tf.reshape(self.query_key_value(x), [batch, length, heads + 2 * shared, size])
        query_key, value = tf.split(
            tf.transpose(joined, [0, 2, 1, 3]), [heads + shared, shared], axis=1
        )
        query_key = query_key if self.norm is None else self.norm(query_key)
        if self._value_eps is not None:
            value *= inverse_root(
                tf.reduce_mean(tf.square(value), axis=-1, keepdims=True) + self._value_eps
            )
        query_key = query_key if angles is None else rotated(query_key, angles)
        query, key = tf.split(query_key, [heads, shared], axis=1)
        return query, key, value
