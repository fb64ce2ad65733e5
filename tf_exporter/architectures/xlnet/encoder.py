"""XLNet (Z. Yang et al., 2019), as `transformers.models.xlnet` 5.24, without its memory.

BERT's layers, whose scores have terms for the distance and the segments of two tokens.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.deberta_v2.encoder import sheared
from tf_exporter.architectures.xlnet.config import SEGMENTS, XlnetConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import Bias, PostNormLayer, SelfAttention, long_bias, padding_bias
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, variable
from tf_exporter.layers.long_texts import LongBias, attend_in_blocks
from tf_exporter.layers.rope import inverse_powers
from tf_exporter.layers.rotary import Angles
from tf_exporter.model.weights import Weights

_BASE = 10_000.0


class Xlnet(BaseEncoder):
    """The XLNet encoder: token ids → hidden states."""

    config: XlnetConfig

    def __init__(self, config: XlnetConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.d_model, config.layer_norm_eps
        act = TRANSFORMERS_ACTIVATIONS[config.ff_activation]
        self.word_embeddings = Embedding(weights, "word_embedding", config.vocab_size, hidden)
        self.layers = []
        for index in range(config.n_layer):
            attention, ff = f"layer.{index}.rel_attn", f"layer.{index}.ff"
            self.layers.append(
                PostNormLayer(
                    RelativeAttention(weights, attention, hidden, config.n_head),
                    LayerNorm(weights, f"{attention}.layer_norm", hidden, eps),
                    FeedForward(
                        weights, (f"{ff}.layer_1",), f"{ff}.layer_2", hidden, config.d_inner, act
                    ),
                    LayerNorm(weights, f"{ff}.layer_norm", hidden, eps),
                )
            )
        self._frequencies = inverse_powers(_BASE, hidden)

    @property
    def token_table(self) -> Embedding:
        return self.word_embeddings

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.word_embeddings(input_ids), [batch * length, self.hidden_size])
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        terms = self._positions(length), tf.one_hot(token_type_ids, SEGMENTS)[:, tf.newaxis]
        states = [x]
        for layer in self.layers:
            x = layer(x, bias, batch, length, terms)
            states.append(x)
        return states

    def _positions(self, length: tf.Tensor) -> tf.Tensor:
        """Sines and cosines of the distances length − 1, length − 2, …, −length.

        float32 [2 · length, hidden].
        """
        distance = length - 1 - tf.range(2 * length)
        if self.config.clamp_len > 0:
            distance = tf.clip_by_value(distance, -self.config.clamp_len, self.config.clamp_len)
        angles = tf.cast(distance, tf.float32)[:, tf.newaxis] * self._frequencies
        return tf.concat([tf.sin(angles), tf.cos(angles)], -1)


class RelativeAttention(SelfAttention):
    """Attention with scores (q + a) · k + (q + b) · distance + (q + c) · segment.

    `segment` is one vector for keys of the query's segment, and another for all others. In a
    softmax, only the difference of the two counts. It is folded into the first product: keys have
    more features, one for each segment.
    """

    def __init__(self, weights: Weights, prefix: str, features: int, heads: int):
        size = features // heads
        shape = features, heads, size
        arrays = {
            f"{name}.weight": weights.take(f"{prefix}.{name}", shape).reshape(features, features)
            for name in "qkvor"
        }
        for name in "qkvr":
            arrays[f"{name}.weight"] = arrays[f"{name}.weight"].T
        layers = Weights.of_arrays(
            weights.file, {f"{prefix}.{name}": array for name, array in arrays.items()}
        )
        super().__init__(layers, prefix, ("q", "k", "v", "o"), features, heads, bias=False)
        self.distances = variable(
            layers.take(f"{prefix}.r.weight", (features, features)).T, "distances"
        )

        def by_head(name: str) -> np.ndarray:
            return weights.take(f"{prefix}.{name}", (heads, size))[:, np.newaxis]

        self.content_bias = variable(by_head("r_w_bias"), "content_bias")
        self.distance_bias = variable(by_head("r_r_bias"), "distance_bias")
        self.segment_bias = variable(by_head("r_s_bias"), "segment_bias")
        same, other = weights.take(f"{prefix}.seg_embed", (2, heads, size))
        self.other_segment = variable((other - same)[:, :, np.newaxis], "other_segment")

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
    ) -> tf.Tensor:
        """Mixes the tokens of each text, as `SelfAttention`.

        `angles`: the result of `Xlnet._positions`, and the segments, float32 [batch, 1, length, 5].
        """
        assert angles is not None
        positions, segments = angles
        heads, size = self._heads, self._size
        joined = tf.reshape(self.query_key_value(x), [batch, length, 3, heads, size])
        query, key, value = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=3)
        by_segment = tf.matmul(query + self.segment_bias, self.other_segment) * segments
        content = tf.concat([query + self.content_bias, -by_segment], -1)
        keys = tf.concat([key, tf.tile(segments, [1, heads, 1, 1])], -1)
        distances = tf.transpose(
            tf.reshape(tf.matmul(positions, self.distances), [2 * length, heads, size]), [1, 0, 2]
        )
        if isinstance(bias, LongBias):
            bias = replace(bias, relative=partial(self._relative, distances))
            # As wide as the keys.
            values = tf.pad(value, [[0, 0], [0, 0], [0, 0], [0, SEGMENTS]])
            mixed = attend_in_blocks(content, keys, values, bias, self._scale)[..., :size]
        else:
            scores = tf.matmul(content, keys, transpose_b=True)
            scores += sheared(tf.matmul(query + self.distance_bias, distances, transpose_b=True))
            mixed = tf.matmul(tf.nn.softmax(scores * self._scale + bias), value)
        return self.output(
            tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, heads * size])
        )

    def _relative(
        self,
        distances: tf.Tensor,
        head: tf.Tensor,
        query: tf.Tensor,
        key: tf.Tensor,
        distance: tf.Tensor,
    ) -> tf.Tensor:
        """The bias of a block, as `Relative`; `distances`: float32 [heads, 2 · length, size]."""
        moved = (self.distance_bias[head] - self.content_bias[head]) * self._scale
        by_row = tf.matmul(distances[head], query[:, : self._size] + moved, transpose_b=True)
        queries = tf.shape(distance)[1]
        return tf.gather(tf.reshape(by_row, [-1]), distance * queries + tf.range(queries))
