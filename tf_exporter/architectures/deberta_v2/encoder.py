"""DeBERTa-v2 and v3 (P. He et al., 2020), as `transformers.models.deberta_v2` 5.24.

BERT's layers, whose scores also have products of queries and keys with embeddings of distances.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.deberta_v2.config import (
    FARTHEST,
    DebertaV2Config,
    DisentangledConfig,
)
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import Bias, PostNormLayer, SelfAttention, long_bias, padding_bias
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, Linear, variable
from tf_exporter.layers.long_texts import LongBias, attend_in_blocks
from tf_exporter.layers.rotary import Angles
from tf_exporter.model.weights import Weights
from tf_exporter.tokenizers.ops.tables import graph_constant


class Disentangled(BaseEncoder):
    """An encoder with `DisentangledAttention`: token ids → hidden states."""

    config: DisentangledConfig

    def __init__(self, config: DisentangledConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.layer_norm_eps
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        self._embeddings(weights, config.embedding_width)
        distances = self._distances(weights)
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = f"encoder.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    self._attention(weights, f"{prefix}.attention", distances),
                    LayerNorm(weights, f"{prefix}.attention.output.LayerNorm", hidden, eps),
                    FeedForward(
                        weights,
                        (f"{prefix}.intermediate.dense",),
                        f"{prefix}.output.dense",
                        hidden,
                        config.intermediate_size,
                        act,
                    ),
                    LayerNorm(weights, f"{prefix}.output.LayerNorm", hidden, eps),
                )
            )
        self.conv: Convolution | None = None

    def _attention(
        self, weights: Weights, prefix: str, distances: np.ndarray | None
    ) -> DisentangledAttention:
        """The attention of a layer; `distances`: the result of `_distances`."""
        raise NotImplementedError

    def _embeddings(self, weights: Weights, width: int) -> None:
        config, hidden = self.config, self.hidden_size
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, width
        )
        self.position_embeddings = self.token_type_embeddings = self.embed_proj = None
        if config.position_biased_input:
            rows = config.max_position_embeddings
            self.position_embeddings = Embedding(
                weights, "embeddings.position_embeddings", rows, width
            )
        if config.type_vocab_size:
            rows = config.type_vocab_size
            self.token_type_embeddings = Embedding(
                weights, "embeddings.token_type_embeddings", rows, width
            )
        if width != hidden:
            self.embed_proj = Linear(weights, ("embeddings.embed_proj",), width, hidden, bias=False)
        self.embeddings_norm = LayerNorm(
            weights, "embeddings.LayerNorm", hidden, config.layer_norm_eps
        )

    def _distances(self, weights: Weights, buckets: int = -1) -> np.ndarray | None:
        """The embedding of each bucket of distances, float32 [rows, hidden], if there are any.

        Sets `_rows`, the row of each distance up to `_farthest`.
        """
        if not self.config.relative_attention:
            return None
        farthest = self.config.farthest
        span = buckets if buckets > 0 else farthest
        rows = distance_rows(buckets, farthest)
        self._farthest = len(rows) // 2
        self._rows = graph_constant(rows)
        return weights.take("encoder.rel_embeddings.weight", (2 * span, self.hidden_size))

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
        x = self.word_embeddings(input_ids)
        if self.position_embeddings is not None:
            x += self.position_embeddings.first(length)
        if self.token_type_embeddings is not None:
            x += self.token_type_embeddings(token_type_ids)
        x = tf.reshape(x, [batch * length, x.shape[-1]])
        x = embedded = self.embeddings_norm(x if self.embed_proj is None else self.embed_proj(x))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        rows = None
        if self.config.relative_attention:
            rows = self._rows_by_distance(length) if long else self._rows_of_columns(length)
        states = [x]
        for index, layer in enumerate(self.layers):
            x = layer(x, bias, batch, length, rows)
            if index == 0 and self.conv is not None:
                x = self.conv(embedded, x, attention_mask)
            states.append(x)
        return states

    def _rows_of_columns(self, length: tf.Tensor) -> Angles:
        """The table rows for the columns of `sheared`, by query and by key, int32 [2 · length]."""
        distance = tf.range(2 * length) - (length - 1)
        distance = tf.clip_by_value(distance, -self._farthest, self._farthest)
        return tf.gather(self._rows, self._farthest - distance), tf.gather(
            self._rows, self._farthest + distance
        )

    def _rows_by_distance(self, length: tf.Tensor) -> Angles:
        """The table rows of key position − query position, twice, int32 [2 · length − 1]."""
        distance = tf.clip_by_value(tf.range(1 - length, length), -self._farthest, self._farthest)
        rows = tf.gather(self._rows, self._farthest - distance)
        return rows, rows


class DebertaV2(Disentangled):
    """The DeBERTa-v2 encoder: token ids → hidden states."""

    config: DebertaV2Config

    def __init__(self, config: DebertaV2Config, weights: Weights):
        super().__init__(config, weights)
        self.conv = Convolution(weights, config) if config.conv_kernel_size else None

    def _attention(
        self, weights: Weights, prefix: str, distances: np.ndarray | None
    ) -> DisentangledAttention:
        return DisentangledAttention(
            weights, prefix, self.config, distances, self.config.share_att_key
        )

    def _distances(self, weights: Weights, buckets: int = -1) -> np.ndarray | None:
        norm = None
        if self.config.norms_distances:
            eps = self.config.layer_norm_eps
            norm = LayerNorm(weights, "encoder.LayerNorm", self.hidden_size, eps)
        table = super()._distances(weights, self.config.position_buckets)
        return table if norm is None or table is None else norm(tf.constant(table)).numpy()


class DisentangledAttention(SelfAttention):
    """Attention with scores query · key + query · distance of key + key · distance of query."""

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        config: DisentangledConfig,
        distances: np.ndarray | None,
        share: bool = False,
    ):
        """`share`: whether the tokens' layers project `distances`.

        `distances`: float32 [rows, features], or None without relative attention.
        """
        features, heads, kinds = config.hidden_size, config.num_attention_heads, config.kinds
        names = ("self.query_proj", "self.key_proj", "self.value_proj", "output.dense")
        # In the reference, the terms count even without relative attention.
        scale = (features // heads * (1 + config.terms)) ** -0.5
        super().__init__(weights, prefix, names, features, heads, scale=scale)
        self.distance_keys = self.distance_queries = None
        if distances is None:
            return

        def projected(part: int, name: str, scale: float = 1.0) -> tf.Variable:
            """A projection of `distances`, float32 [heads, rows, size], the same for all texts."""
            shared = self.query_key_value
            if share and shared.bias is not None:
                columns = slice(part * features, (part + 1) * features)
                weight, bias = shared.weight.numpy()[:, columns], shared.bias.numpy()[columns]
            else:
                weight = weights.take(f"{prefix}.self.{name}.weight", (features, features)).T
                bias = weights.take(f"{prefix}.self.{name}.bias", (features,))
            by_head = ((distances @ weight + bias) * np.float32(scale)).reshape(
                -1, heads, features // heads
            )
            return variable(by_head.transpose(1, 0, 2), name)

        if "c2p" in kinds:
            self.distance_keys = projected(1, "pos_key_proj")
        if "p2c" in kinds:
            self.distance_queries = projected(0, "pos_query_proj", scale)

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
    ) -> tf.Tensor:
        """Mixes the tokens of each text, as `SelfAttention`.

        `angles`: the table rows of `_rows_of_columns`, or of `_rows_by_distance` for long texts.
        """
        rows_of_query, rows_of_key = angles or (None, None)
        joined = tf.reshape(self.query_key_value(x), [batch, length, 3, self._heads, self._size])
        query, key, value = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=3)
        if isinstance(bias, LongBias):
            if rows_of_query is not None:
                bias = replace(bias, relative=partial(self._relative, rows_of_query))
            mixed = tf.transpose(
                attend_in_blocks(query, key, value, bias, self._scale), [0, 2, 1, 3]
            )
            return self.output(tf.reshape(mixed, [batch * length, self._heads * self._size]))
        query *= self._scale
        scores = tf.matmul(query, key, transpose_b=True)
        if self.distance_keys is not None:
            distance_keys = tf.gather(self.distance_keys, rows_of_query, axis=1)
            scores += sheared(tf.matmul(query, distance_keys, transpose_b=True))
        if self.distance_queries is not None:
            distance_queries = tf.gather(self.distance_queries, rows_of_key, axis=1)
            by_key = sheared(tf.matmul(key, distance_queries, transpose_b=True))
            scores += tf.linalg.matrix_transpose(by_key)
        mixed = tf.matmul(tf.nn.softmax(scores + bias), value)
        return self.output(
            tf.reshape(
                tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size]
            )
        )

    def _relative(
        self,
        rows: tf.Tensor,
        head: tf.Tensor,
        query: tf.Tensor,
        key: tf.Tensor,
        distance: tf.Tensor,
    ) -> tf.Tensor:
        """The bias of a block, as `Relative`; `rows`: the table row of each distance."""
        keys, queries = tf.unstack(tf.shape(distance))
        row = tf.gather(rows, distance)
        bias = tf.zeros([], tf.float32)
        if self.distance_keys is not None:
            by_row = tf.matmul(self.distance_keys[head], query, transpose_b=True)
            bias += tf.gather(tf.reshape(by_row, [-1]), row * queries + tf.range(queries))
        if self.distance_queries is not None:
            by_row = tf.matmul(key, self.distance_queries[head], transpose_b=True)
            bias += tf.gather(
                tf.reshape(by_row, [-1]), row + tf.range(keys)[:, tf.newaxis] * tf.shape(by_row)[1]
            )
        return bias


class Convolution(tf.Module):
    """A convolution of the embeddings, which is added after the first layer.

    Its input is zero at padding, so that padding does not leak into tokens.
    """

    def __init__(self, weights: Weights, config: DebertaV2Config):
        super().__init__()
        size, groups, hidden = config.conv_kernel_size, config.conv_groups, config.hidden_size
        self._activation = TRANSFORMERS_ACTIVATIONS[config.conv_act]
        each = hidden // groups
        grouped = weights.take("encoder.conv.conv.weight", (hidden, each, size)).transpose(2, 1, 0)
        kernel = np.zeros((size, hidden, hidden), np.float32)
        for start in range(0, hidden, each):
            kernel[:, start : start + each, start : start + each] = grouped[
                :, :, start : start + each
            ]
        self.weight = variable(kernel, "weight")
        self.bias = variable(weights.take("encoder.conv.conv.bias", (hidden,)), "bias")
        self.norm = LayerNorm(weights, "encoder.conv.LayerNorm", hidden, config.layer_norm_eps)

    def __call__(self, embedded: tf.Tensor, x: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """The first layer's input and output, both [batch · length, features] → its new output."""
        present = tf.cast(attention_mask, tf.float32)[:, :, tf.newaxis]
        shape = tf.concat([tf.shape(attention_mask), [embedded.shape[-1]]], 0)
        result = tf.nn.conv1d(
            tf.reshape(embedded, shape) * present, self.weight, stride=1, padding="SAME"
        )
        result = tf.reshape(tf.nn.bias_add(result, self.bias), tf.shape(x))
        return self.norm(x + self._activation(result))


def sheared(x: tf.Tensor) -> tf.Tensor:
    """Aligns columns with positions: float32 [..., length, 2 · length] → [..., length, length].

    Column c of row r of `x` has the position r + c − length + 1, so each row moves one column
    further to the left. This takes two copies, which are faster than a gather of single numbers.
    """
    shape = tf.shape(x)
    lead, length = shape[:-2], shape[-2]
    narrower = tf.maximum(2 * length - 1, 0)
    flat = tf.reshape(x, tf.concat([lead, [2 * length * length]], 0))[..., : length * narrower]
    return tf.reshape(flat, tf.concat([lead, [length, narrower]], 0))[..., length - 1 :]


def distance_rows(buckets: int, farthest: int) -> np.ndarray:
    """The table row of each distance from −n to n, int32 [2 · n + 1].

    A distance is query position − key position. Larger distances have the rows of −n and n.
    Distances above buckets / 2 share logarithmic buckets. Without buckets, each distance below
    `farthest` has its own row.
    """
    span = buckets if buckets > 0 else farthest
    distance = np.arange(FARTHEST + 1)
    if buckets > 0:
        half = buckets // 2
        # Every step is float32, as in the reference: rounding decides where a bucket ends.
        ratio = _log(np.maximum(distance, half) / half) / _log(np.array((farthest - 1) / half))
        bucket = np.where(
            distance <= half,
            distance,
            np.ceil(ratio * np.float32(half - 1)).astype(np.int64) + half,
        )
    else:
        bucket = distance
    last = int(np.argmax(np.minimum(bucket, span) == min(bucket[-1], span)))
    bucket = bucket[: last + 1]
    rows: np.ndarray = np.clip(
        np.concatenate([-bucket[:0:-1], bucket]) + span, 0, 2 * span - 1
    ).astype(np.int32)
    return rows


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(x.astype(np.float32).astype(np.float64)).astype(np.float32)
