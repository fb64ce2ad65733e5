"""JinaBERT (M. Günther et al., 2023), as published for `model_type` "bert" with ALiBi: gated, without embeddings of positions.

transformers has no class for it. There are two layouts, told apart by their tensors: that of the text models, and that of the
code model, which has a layer norm over queries, one over keys, and one more after attention.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.jina_bert import JinaBertConfig
from tf_exporter.encoders.attention import Bias, PostNormLayer, SelfAttention, long_bias, padding_bias
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm, Linear
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.long_texts import ByDistance
from tf_exporter.encoders.rotary import Angles
from tf_exporter.weights import Weights

_ATTENTION = ("self.query", "self.key", "self.value", "output.dense")


class JinaBert(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: JinaBertConfig

    def __init__(self, config: JinaBertConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, hidden)
        self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", hidden, eps)
        layer = _code_layer if "encoder.layer.0.mlp.up_gated_layer.weight" in weights else _text_layer
        self.layers = [layer(weights, config, f"encoder.layer.{index}") for index in range(config.num_hidden_layers)]
        self._slopes = np.array(slopes(config.num_attention_heads), np.float32)[:, np.newaxis, np.newaxis]

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.word_embeddings

    def __call__(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor, *, long: bool = False
    ) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        if long:
            distance = tf.cast(tf.abs(tf.range(1 - length, length)), tf.float32)
            bias: Bias = long_bias(attention_mask, relative=ByDistance(-self._slopes[:, 0] * distance))
        else:
            place = tf.range(length)
            distance = tf.cast(tf.abs(place[tf.newaxis, :] - place[:, tf.newaxis]), tf.float32)
            bias = padding_bias(attention_mask) - (self._slopes * distance)[tf.newaxis]
        for layer in self.layers:
            x = layer(x, bias, batch, length)
        return tf.reshape(x, [batch, length, self.hidden_size])


def slopes(heads: int) -> list[float]:
    """By how much a head's scores fall with each place of distance (O. Press et al., 2021).

    2^(−8/n), 2^(−16/n), …, 2^(−8) for n heads, a power of 2; of other numbers, those of the power below and then every second
    one of the power above.
    """
    power = 2 ** math.floor(math.log2(heads))
    first = 2.0 ** (-8 / power)
    own = [first ** (index + 1) for index in range(power)]
    return own if power == heads else own + slopes(2 * power)[::2][: heads - power]


def _feed_forward(weights: Weights, config: JinaBertConfig, up: str, down: str, gate_first: bool) -> FeedForward:
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


def _text_layer(weights: Weights, config: JinaBertConfig, at: str) -> PostNormLayer:
    hidden, eps = config.hidden_size, config.layer_norm_eps
    return PostNormLayer(
        SelfAttention(weights, f"{at}.attention", _ATTENTION, hidden, config.num_attention_heads),
        LayerNorm(weights, f"{at}.attention.output.LayerNorm", hidden, eps),
        _feed_forward(weights, config, f"{at}.mlp.gated_layers", f"{at}.mlp.wo", gate_first=True),
        LayerNorm(weights, f"{at}.mlp.layernorm", hidden, eps),
    )


def _code_layer(weights: Weights, config: JinaBertConfig, at: str) -> PostNormLayer:
    hidden, eps = config.hidden_size, config.layer_norm_eps
    return PostNormLayer(
        _NormedAttention(weights, f"{at}.attention", hidden, config.num_attention_heads, eps),
        LayerNorm(weights, f"{at}.layer_norm_1", hidden, eps),
        _feed_forward(weights, config, f"{at}.mlp.up_gated_layer", f"{at}.mlp.down_layer", gate_first=False),
        LayerNorm(weights, f"{at}.layer_norm_2", hidden, eps),
    )


class _NormedAttention(SelfAttention):
    """With a layer norm over queries and one over keys, all heads together, and the norm after the sum as part of it."""

    def __init__(self, weights: Weights, at: str, features: int, heads: int, eps: float):
        super().__init__(weights, at, _ATTENTION, features, heads)
        self.query_key_value = _NormedProducts(self.query_key_value, weights, at, features, eps)
        self.norm = LayerNorm(weights, f"{at}.output.LayerNorm", features, eps)

    def __call__(self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None = None) -> tf.Tensor:
        """As `SelfAttention`."""
        return self.norm(super().__call__(x, bias, batch, length, angles) + x)


class _NormedProducts(tf.Module):
    """Query, key and value side by side, the first two normed."""

    def __init__(self, products: Linear, weights: Weights, at: str, features: int, eps: float):
        super().__init__()
        self.products = products
        self.query_norm = LayerNorm(weights, f"{at}.self.layer_norm_q", features, eps)
        self.key_norm = LayerNorm(weights, f"{at}.self.layer_norm_k", features, eps)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, 3 · features]"""
        query, key, value = tf.split(self.products(x), 3, axis=-1)
        return tf.concat([self.query_norm(query), self.key_norm(key), value], axis=-1)
