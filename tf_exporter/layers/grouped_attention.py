"""Attention in which groups of heads share keys and values."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import Linear, RMSNorm, variable
from tf_exporter.layers.long_texts import LongBias, attend_in_blocks
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
    ):
        """`heads`: the number of query heads, and of key and value heads, which divides it.

        `scale` of the scores is 1 / √size by default; `norm`: epsilon and offset of `HeadNorm`.
        """
        super().__init__()
        self._heads, self._shared = heads
        self._size, self._scale = size, size**-0.5 if scale is None else scale
        outer, inner = self._heads * size, self._shared * size
        names = tuple(f"{prefix}.{name}_proj" for name in "qkv")
        self.query_key_value = Linear(weights, names, features, (outer, inner, inner), bias)
        self.output = Linear(weights, (f"{prefix}.o_proj",), outer, features, output_bias)
        self.norm = None if norm is None else HeadNorm(weights, prefix, size, heads, *norm)

    def __call__(
        self,
        x: tf.Tensor,
        bias: tf.Tensor | LongBias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None,
    ) -> tf.Tensor:
        heads, shared, size = self._heads, self._shared, self._size
        joined = tf.reshape(self.query_key_value(x), [batch, length, heads + 2 * shared, size])
        query_key, value = tf.split(
            tf.transpose(joined, [0, 2, 1, 3]), [heads + shared, shared], axis=1
        )
        query_key = query_key if self.norm is None else self.norm(query_key)
        query_key = query_key if angles is None else rotated(query_key, angles)
        query, key = tf.split(query_key, [heads, shared], axis=1)
        if isinstance(bias, LongBias):
            mixed = attend_in_blocks(query, key, value, bias, self._scale)
        else:
            # The queries that share a key are rows of one matrix, so that no key is repeated.
            rows = heads // shared * length
            scores = tf.matmul(
                tf.reshape(query, [batch, shared, rows, size]), key, transpose_b=True
            )
            scores = tf.reshape(scores, [batch, heads, length, length]) * self._scale + bias
            mixed = tf.matmul(
                tf.reshape(tf.nn.softmax(scores), [batch, shared, rows, length]), value
            )
            mixed = tf.reshape(mixed, [batch, heads, length, size])
        mixed = tf.transpose(mixed, [0, 2, 1, 3])
        return self.output(tf.reshape(mixed, [batch * length, heads * size]))
