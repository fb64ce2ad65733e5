"""JinaBERT (M. Günther et al., 2023), as published; transformers 5.24 has no class for it.

BERT with ALiBi in place of position embeddings, and gated feed-forward. Text models and the code
model have different tensors. The code model also has norms of queries and keys, and another norm
after attention.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.jina_bert.config import JinaBertConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import (
    Bias,
    PostNormLayer,
    SelfAttention,
    long_bias,
    padding_bias,
    through_layers,
)
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, Linear
from tf_exporter.layers.long_texts import ByDistance
from tf_exporter.layers.rotary import Angles
from tf_exporter.model.weights import Weights

_ATTENTION = ("self.query", "self.key", "self.value", "output.dense")


class JinaBert(BaseEncoder):
    """The JinaBERT encoder: token ids → hidden states."""

    config: JinaBertConfig

    def __init__(self, config: JinaBertConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, hidden
        )
        self.token_type_embeddings = Embedding(
            weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden
        )
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", hidden, eps)
        layer = (
            _code_layer if "encoder.layer.0.mlp.up_gated_layer.weight" in weights else _text_layer
        )
        self.layers = [
            layer(weights, config, f"encoder.layer.{index}")
            for index in range(config.num_hidden_layers)
        ]
        self._slopes = np.array(slopes(config.num_attention_heads), np.float32)[
            :, np.newaxis, np.newaxis
        ]

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
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        if long:
            distance = tf.cast(tf.abs(tf.range(1 - length, length)), tf.float32)
            bias: Bias = long_bias(
                attention_mask, relative=ByDistance(-self._slopes[:, 0] * distance)
            )
        else:
            position = tf.range(length)
            distance = tf.cast(
                tf.abs(position[tf.newaxis, :] - position[:, tf.newaxis]), tf.float32
            )
            bias = padding_bias(attention_mask) - (self._slopes * distance)[tf.newaxis]
        return through_layers(self.layers, x, bias, tf.shape(input_ids))


def slopes(heads: int) -> list[float]:
    """ALiBi's slope of each head: the decrease of its scores per distance (O. Press et al., 2021).

    For n heads, a power of 2, the slopes are 2^(−8/n), 2^(−16/n), …, 2^(−8). Other numbers have the
    slopes of the next lower power, then every second slope of the next higher power.
    """
    power = 2 ** math.floor(math.log2(heads))
    first = 2.0 ** (-8 / power)
    own = [first ** (index + 1) for index in range(power)]
    return own if power == heads else own + slopes(2 * power)[::2][: heads - power]


def _feed_forward(
    weights: Weights, config: JinaBertConfig, up: str, down: str, gate_first: bool
) -> FeedForward:
    act = TRANSFORMERS_ACTIVATIONS[config.activation]
    return FeedForward(
        weights,
        (up,),
        down,
        config.hidden_size,
        config.intermediate_size,
        act,
        gated=True,
        gate_first=gate_first,
        bias=False,
        down_bias=True,
    )


def _text_layer(weights: Weights, config: JinaBertConfig, prefix: str) -> PostNormLayer:
    hidden, eps = config.hidden_size, config.layer_norm_eps
    return PostNormLayer(
        SelfAttention(
            weights, f"{prefix}.attention", _ATTENTION, hidden, config.num_attention_heads
        ),
        LayerNorm(weights, f"{prefix}.attention.output.LayerNorm", hidden, eps),
        _feed_forward(
            weights, config, f"{prefix}.mlp.gated_layers", f"{prefix}.mlp.wo", gate_first=True
        ),
        LayerNorm(weights, f"{prefix}.mlp.layernorm", hidden, eps),
    )


def _code_layer(weights: Weights, config: JinaBertConfig, prefix: str) -> PostNormLayer:
    hidden, eps = config.hidden_size, config.layer_norm_eps
    return PostNormLayer(
        _NormedAttention(weights, f"{prefix}.attention", hidden, config.num_attention_heads, eps),
        LayerNorm(weights, f"{prefix}.layer_norm_1", hidden, eps),
        _feed_forward(
            weights,
            config,
            f"{prefix}.mlp.up_gated_layer",
            f"{prefix}.mlp.down_layer",
            gate_first=False,
        ),
        LayerNorm(weights, f"{prefix}.layer_norm_2", hidden, eps),
    )


class _NormedAttention(SelfAttention):
    """Attention with norms of queries and keys, over all heads together, and a norm of the sum."""

    def __init__(self, weights: Weights, prefix: str, features: int, heads: int, eps: float):
        super().__init__(weights, prefix, _ATTENTION, features, heads)
        self.query_key_value = _NormedProducts(self.query_key_value, weights, prefix, features, eps)
        self.norm = LayerNorm(weights, f"{prefix}.output.LayerNorm", features, eps)

    def __call__(
        self,
        x: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles | None = None,
    ) -> tf.Tensor:
        return self.norm(super().__call__(x, bias, batch, length, angles) + x)


class _NormedProducts(tf.Module):
    """The joined layer of query, key and value, with norms of query and key."""

    def __init__(self, products: Linear, weights: Weights, prefix: str, features: int, eps: float):
        super().__init__()
        self.products = products
        self.query_norm = LayerNorm(weights, f"{prefix}.self.layer_norm_q", features, eps)
        self.key_norm = LayerNorm(weights, f"{prefix}.self.layer_norm_k", features, eps)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, 3 · features]"""
        query, key, value = tf.split(self.products(x), 3, axis=-1)
        return tf.concat([self.query_norm(query), self.key_norm(key), value], axis=-1)
