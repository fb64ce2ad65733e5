"""Attention and the layers around it: what says which tokens see each other, and where they stand."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm, Linear, RMSNorm
from tf_exporter.encoders.few import attend, few
from tf_exporter.encoders.grouped_attention import GroupedAttention
from tf_exporter.encoders.long_texts import MASKED, ByDistance, LongBias, Relative, in_parts
from tf_exporter.encoders.rotary import Angles, rotated
from tf_exporter.encoders.training import dropped
from tf_exporter.tokenizers.tables import graph_constant
from tf_exporter.weights import Weights

Bias: TypeAlias = tf.Tensor | LongBias
"""What is added to scores: float32 that broadcasts to [batch, heads, length, length], or that of long texts."""
Norm = LayerNorm | RMSNorm


class SelfAttention(tf.Module):
    """Multi-head attention with an additive bias (A. Vaswani et al., 2017), one product for query, key and value."""

    def __init__(
        self,
        weights: Weights,
        at: str,
        names: tuple[str, ...],
        features: int,
        heads: int,
        *,
        size: int | None = None,
        scale: float | None = None,
        bias: bool = True,
    ):
        """`names`: the layers of query, key and value, one each or one for all, and the output layer, under the name `at`;
        `size` of a head; `scale` of the products.
        """
        super().__init__()
        *inputs, output = (f"{at}.{name}" for name in names)
        self._heads, self._size = heads, features // heads if size is None else size
        self._scale = self._size**-0.5 if scale is None else scale
        inner = heads * self._size
        self.query_key_value = Linear(weights, tuple(inputs), features, 3 * inner // len(inputs), bias)
        self.output = Linear(weights, (output,), inner, features, bias)

    def __call__(self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None = None) -> tf.Tensor:
        """[batch · length, features] and a bias that broadcasts to [batch, heads, length, length], or of long texts → like x.

        `angles`: those of `Rotary`, by which query and key are turned.
        """
        joined = self.query_key_value(x)
        if few():
            assert not isinstance(bias, LongBias)
            # Heads before the batch: then nothing has to be transposed.
            pieces = tf.stack(tf.split(joined, 3 * self._heads, axis=-1))
            by_head = tf.reshape(pieces, [3, self._heads, batch, length, self._size])
            bias = tf.squeeze(bias, 1)[tf.newaxis] if bias.shape[1] == 1 else tf.transpose(bias, [1, 0, 2, 3])
        else:
            by_head = tf.transpose(tf.reshape(joined, [batch, length, 3, self._heads, self._size]), [2, 0, 3, 1, 4])
        query, key, value = tf.unstack(by_head, num=3)
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        mixed = attend(query, key, value, bias, self._scale)
        if few():
            mixed = tf.reshape(mixed, [self._heads, batch * length, self._size])
            return self.output(tf.concat(tf.unstack(mixed, num=self._heads), -1))
        return self.output(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size]))


def fed_forward(layer: FeedForward, x: tf.Tensor, bias: Bias) -> tf.Tensor:
    """float32 [batch · length, features] → the same shape; of long texts, as `bias` tells, some tokens at a time."""
    return in_parts(layer, x) if isinstance(bias, LongBias) else layer(x)


class PostNormLayer(tf.Module):
    """BERT's layer: attention and feed-forward, a layer norm after each sum."""

    def __init__(self, attention: SelfAttention, attention_norm: LayerNorm, ffn: FeedForward, output_norm: LayerNorm):
        super().__init__()
        self.attention, self.attention_norm = attention, attention_norm
        self.ffn, self.output_norm = ffn, output_norm

    def __call__(self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None = None) -> tf.Tensor:
        """As `SelfAttention`."""
        x = self.attention_norm(dropped(self.attention(x, bias, batch, length, angles)) + x)
        return self.output_norm(dropped(fed_forward(self.ffn, x, bias)) + x)


def through_layers(
    layers: list[PostNormLayer],
    x: tf.Tensor,
    bias: Bias,
    shape: tf.Tensor,
    inputs: list[tf.Tensor] | None = None,
) -> tf.Tensor:
    """What goes into the first layer, float32 [batch · length, features] → what comes out of the last, [batch, length, features].

    `shape`: batch and length; `inputs`: gets what goes into each layer.
    """
    batch, length = tf.unstack(shape, num=2)
    for layer in layers:
        if inputs is not None:
            inputs.append(x)
        x = layer(x, bias, batch, length)
    return tf.reshape(x, [batch, length, x.shape[-1]])


class PreNormLayer(tf.Module):
    """As `PostNormLayer`, with each norm before its product; the first layer may have none before attention."""

    def __init__(
        self, attention_norm: Norm | None, attention: SelfAttention | GroupedAttention, ffn_norm: Norm, ffn: FeedForward
    ):
        super().__init__()
        self.attention_norm, self.attention = attention_norm, attention
        self.ffn_norm, self.ffn = ffn_norm, ffn

    def __call__(self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None = None) -> tf.Tensor:
        """As `SelfAttention`."""
        normed = x if self.attention_norm is None else self.attention_norm(x)
        x = x + self.attention(normed, bias, batch, length, angles)
        return x + fed_forward(self.ffn, self.ffn_norm(x), bias)


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
        return tf.transpose(self._values(column[tf.newaxis, :] - column[:, tf.newaxis]), [2, 0, 1])[tf.newaxis]

    def of_long_texts(self, length: tf.Tensor) -> ByDistance:
        """The same, a number for each distance."""
        return ByDistance(tf.transpose(self._values(tf.range(1 - length, length))))

    def _values(self, distance: tf.Tensor) -> tf.Tensor:
        """int32 of any shape → float32 [..., heads]"""
        distance = tf.clip_by_value(distance, -self._max_distance, self._max_distance)
        return self.table(tf.gather(self._buckets, distance + self._max_distance))


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


def long_bias(
    attention_mask: tf.Tensor, causal: bool = False, window: int | None = None, relative: Relative | None = None
) -> LongBias:
    """What is added to the scores of long texts: int32 mask [batch, length], and as in `LongBias`."""
    return LongBias(padding_bias(attention_mask)[:, 0, 0], causal, window, relative)


def padding_bias(attention_mask: tf.Tensor) -> tf.Tensor:
    """int32 mask [batch, length] → float32 [batch, 1, 1, length], 0 for tokens and `MASKED` for padding."""
    return (1.0 - tf.cast(attention_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED


def positions_of_tokens(input_ids: tf.Tensor, padding_id: int) -> tf.Tensor:
    """int32 [batch, length]: padding_id + 1, + 2, … for all ids but `padding_id`, which has its own number as position.

    From the ids, not the mask: a padding token written in the text has the padding's position too.
    """
    present = tf.cast(input_ids != padding_id, tf.int32)
    return tf.cumsum(present, axis=1) * present + padding_id


def window_bias(length: tf.Tensor, window: int) -> tf.Tensor:
    """float32 [1, 1, length, length], 0 up to a distance of `window` and `MASKED` beyond."""
    place = tf.range(length)
    far = tf.abs(place[tf.newaxis, :] - place[:, tf.newaxis]) > window
    return (tf.cast(far, tf.float32) * MASKED)[tf.newaxis, tf.newaxis]


def causal_bias(length: tf.Tensor, window: int | None = None) -> tf.Tensor:
    """float32 [1, 1, length, length], 0 for each token itself and what is before it, of both `window` at most, else `MASKED`."""
    place = tf.range(length)
    back = place[:, tf.newaxis] - place[tf.newaxis, :]
    hidden = back < 0 if window is None else (back < 0) | (back >= window)
    return (tf.cast(hidden, tf.float32) * MASKED)[tf.newaxis, tf.newaxis]


def biases_by_type(attention_mask: tf.Tensor, causal: bool, window: int | None, long: bool = False) -> dict[str, Bias]:
    """What each layer type adds to its scores, float32 [batch, 1, 1 or length, length]; `long`: that of long texts.

    `window` of the sliding layers, if there are any: tokens up to itself where causal, else the distance on each side.
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
