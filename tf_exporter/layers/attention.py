"""Attention, the layers around it, and the biases for masks and relative positions."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, Linear, RMSNorm
from tf_exporter.layers.experts import Experts
from tf_exporter.layers.grouped_attention import GroupedAttention
from tf_exporter.layers.long_texts import MASKED, ByDistance, LongBias, Relative, in_parts
from tf_exporter.layers.rotary import Angles, rotated
from tf_exporter.layers.small_batch import attend, in_small_batch
from tf_exporter.layers.training import dropped
from tf_exporter.model.weights import Weights
from tf_exporter.tokenizers.ops.tables import graph_constant

Bias: TypeAlias = tf.Tensor | LongBias
"""Added to scores: float32 that broadcasts to [batch, heads, length, length], or a `LongBias`."""
Norm = LayerNorm | RMSNorm


class SelfAttention(tf.Module):
    """Multi-head attention (A. Vaswani et al., 2017), one product for query, key and value."""

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        names: tuple[str, ...],
        features: int,
        heads: int,
        *,
        size: int | None = None,
        scale: float | None = None,
        bias: bool = True,
    ):
        """`names`: the layers of query, key and value, or one for all three, and the output layer.

        `size` of a head is `features` / `heads` by default, `scale` of the scores is 1 / √size.
        """
        super().__init__()
        *inputs, output = (f"{prefix}.{name}" for name in names)
        self._heads, self._size = heads, features // heads if size is None else size
        self._scale = self._size**-0.5 if scale is None else scale
        inner = heads * self._size
        self.query_key_value = Linear(
            weights, tuple(inputs), features, 3 * inner // len(inputs), bias
        )
        self.output = Linear(weights, (output,), inner, features, bias)

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
    ) -> tf.Tensor:
        """Mixes the tokens of each text: float32 [batch · length, features] → the same shape.

        `angles`: the result of `Rotary`, if positions are rotary.
        """
        joined = self.query_key_value(x)
        if in_small_batch():
            assert not isinstance(bias, LongBias)
            # With the heads before the batch, no transpose is needed.
            by_head = tf.stack(tf.split(joined, 3 * self._heads, axis=-1))
            by_head = tf.reshape(by_head, [3, self._heads, batch, length, self._size])
            bias = (
                tf.squeeze(bias, 1)[tf.newaxis]
                if bias.shape[1] == 1
                else tf.transpose(bias, [1, 0, 2, 3])
            )
        else:
            by_head = tf.transpose(
                tf.reshape(joined, [batch, length, 3, self._heads, self._size]), [2, 0, 3, 1, 4]
            )
        query, key, value = tf.unstack(by_head, num=3)
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        mixed = attend(query, key, value, bias, self._scale)
        if in_small_batch():
            mixed = tf.reshape(mixed, [self._heads, batch * length, self._size])
            return self.output(tf.concat(tf.unstack(mixed, num=self._heads), -1))
        return self.output(
            tf.reshape(
                tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size]
            )
        )


def fed_forward(layer: FeedForward | Experts, x: tf.Tensor, bias: Bias) -> tf.Tensor:
    """The output of `layer`, float32 [batch · length, features]; in parts for long texts."""
    return in_parts(layer, x) if isinstance(bias, LongBias) else layer(x)


class PostNormLayer(tf.Module):
    """BERT's layer: attention and feed-forward, a layer norm after each sum."""

    def __init__(
        self,
        attention: SelfAttention,
        attention_norm: LayerNorm,
        ffn: FeedForward | Experts,
        output_norm: LayerNorm,
    ):
        super().__init__()
        self.attention, self.attention_norm = attention, attention_norm
        self.ffn, self.output_norm = ffn, output_norm

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
    ) -> tf.Tensor:
        x = self.attention_norm(dropped(self.attention(x, bias, batch, length, angles)) + x)
        return self.output_norm(dropped(fed_forward(self.ffn, x, bias)) + x)


def through_layers(
    layers: list[PostNormLayer],
    x: tf.Tensor,
    bias: Bias,
    shape: tf.Tensor,
    angles: Angles | None = None,
) -> list[tf.Tensor]:
    """The hidden states: `x` and the output of each layer, float32 [batch · length, features].

    `shape`: int32 [2], batch and length; `angles`: the result of `Rotary`, if positions are rotary.
    """
    batch, length = tf.unstack(shape, num=2)
    states = [x]
    for layer in layers:
        states.append(layer(states[-1], bias, batch, length, angles))
    return states


class PreNormLayer(tf.Module):
    """A layer with a norm before attention, which may be missing, and one before feed-forward."""

    def __init__(
        self,
        attention_norm: Norm | None,
        attention: SelfAttention | GroupedAttention,
        ffn_norm: Norm,
        ffn: FeedForward,
    ):
        super().__init__()
        self.attention_norm, self.attention = attention_norm, attention
        self.ffn_norm, self.ffn = ffn_norm, ffn

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
        factors: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Float32 [batch · length, features] → the same; `factors` as in `GroupedAttention`."""
        normed = x if self.attention_norm is None else self.attention_norm(x)
        if isinstance(self.attention, GroupedAttention):
            mixed = self.attention(normed, bias, batch, length, angles, factors)
        else:
            mixed = self.attention(normed, bias, batch, length, angles)
        x = x + mixed
        return x + fed_forward(self.ffn, self.ffn_norm(x), bias)


class RelativeBias(tf.Module):
    """A learned bias for each head and bucket of distances (C. Raffel et al., 2019)."""

    def __init__(
        self, weights: Weights, name: str, rows: int, heads: int, buckets: int, max_distance: int
    ):
        """`buckets`: the used rows of the table; `max_distance`: the start of the last bucket."""
        super().__init__()
        self.table = Embedding(weights, name, rows, heads)
        self._max_distance = max_distance
        self._buckets = graph_constant(relative_buckets(buckets, max_distance))

    def __call__(self, length: tf.Tensor) -> tf.Tensor:
        """The bias of each query and key, float32 [1, heads, length, length]."""
        column = tf.range(length)
        return tf.transpose(self._values(column[tf.newaxis, :] - column[:, tf.newaxis]), [2, 0, 1])[
            tf.newaxis
        ]

    def for_long_texts(self, length: tf.Tensor) -> ByDistance:
        """The same bias for texts that are computed in blocks."""
        return ByDistance(tf.transpose(self._values(tf.range(1 - length, length))))

    def _values(self, distance: tf.Tensor) -> tf.Tensor:
        """The bias of each distance: int32 of any shape → float32 [..., heads]."""
        distance = tf.clip_by_value(distance, -self._max_distance, self._max_distance)
        return self.table(tf.gather(self._buckets, distance + self._max_distance))


def relative_buckets(buckets: int, max_distance: int) -> np.ndarray:
    """T5's bucket of each distance, −max_distance to max_distance, int32 [2 · max_distance + 1]."""
    distance = np.arange(-max_distance, max_distance + 1)
    half = buckets // 2
    exact = half // 2
    size = np.abs(distance)
    # In float32, as in the reference: rounding of the logarithm decides where a bucket ends.
    ratio = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        math.log(max_distance / exact)
    )
    large = np.minimum(exact + (ratio * np.float32(half - exact)).astype(np.int32), half - 1)
    return ((distance > 0) * half + np.where(size < exact, size, large)).astype(np.int32)


def long_bias(
    attention_mask: tf.Tensor,
    causal: bool = False,
    window: int | None = None,
    relative: Relative | None = None,
) -> LongBias:
    """The `LongBias` of an int32 mask [batch, length]."""
    return LongBias(padding_bias(attention_mask)[:, 0, 0], causal, window, relative)


def padding_bias(attention_mask: tf.Tensor) -> tf.Tensor:
    """0 for tokens, `MASKED` for padding: int32 [batch, length] → float32 [batch, 1, 1, length]."""
    return (1.0 - tf.cast(attention_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def positions_of_tokens(input_ids: tf.Tensor, padding_id: int) -> tf.Tensor:
    """The position of each token, int32 [batch, length]: padding_id + 1, padding_id + 2, …

    Tokens with `padding_id` have the position `padding_id`, even if the text itself has them: the
    reference reads the ids, not the mask.
    """
    present = tf.cast(input_ids != padding_id, tf.int32)
    return tf.cumsum(present, axis=1) * present + padding_id


def window_bias(length: tf.Tensor, window: int) -> tf.Tensor:
    """0 up to a distance of `window` and `MASKED` beyond, float32 [1, 1, length, length]."""
    position = tf.range(length)
    far = tf.abs(position[tf.newaxis, :] - position[:, tf.newaxis]) > window
    return (tf.cast(far, tf.float32) * MASKED)[tf.newaxis, tf.newaxis]


def causal_bias(length: tf.Tensor, window: int | None = None) -> tf.Tensor:
    """0 for a token and earlier ones, `MASKED` for later ones, float32 [1, 1, length, length].

    With `window`, a token attends to at most `window` tokens, itself included.
    """
    position = tf.range(length)
    back = position[:, tf.newaxis] - position[tf.newaxis, :]
    hidden = back < 0 if window is None else (back < 0) | (back >= window)
    return (tf.cast(hidden, tf.float32) * MASKED)[tf.newaxis, tf.newaxis]


def biases_by_type(
    attention_mask: tf.Tensor, causal: bool, window: int | None, long: bool = False
) -> dict[str, Bias]:
    """The bias of each layer type, float32 [batch, 1, 1 or length, length], or a `LongBias`.

    Args:
        attention_mask: int32 [batch, length].
        causal: whether a token attends only to itself and earlier tokens.
        window: the window of sliding layers, None if there are none. If causal, it is the number of
            tokens that a token attends to, itself included; else the distance on each side.
        long: whether attention is computed in blocks.
    """
    if long:
        farthest = window if window is None or not causal else window - 1
        return {
            "full_attention": long_bias(attention_mask, causal),
            "sliding_attention": long_bias(attention_mask, causal, farthest),
        }
    length = tf.shape(attention_mask)[1]
    padding = padding_bias(attention_mask)
    biases = {"full_attention": tf.minimum(padding, causal_bias(length)) if causal else padding}
    if window is not None:
        sliding = causal_bias(length, window) if causal else window_bias(length, window)
        biases["sliding_attention"] = tf.minimum(padding, sliding)
    return biases
