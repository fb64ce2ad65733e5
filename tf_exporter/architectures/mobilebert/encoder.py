"""MobileBERT (Z. Sun et al., 2020), as `transformers.models.mobilebert` 5.24.

Narrow layers between bottlenecks, and embeddings of trigrams of tokens.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.mobilebert.config import MobileBertConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.layers.attention import Bias, long_bias, padding_bias
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, Linear, variable
from tf_exporter.layers.small_batch import attend
from tf_exporter.model.weights import Weights

_TORCH_EPS = 1e-5
"""Torch's default epsilon, which two kinds of norms have instead of the config's layer_norm_eps."""


class MobileBert(BaseEncoder):
    """The MobileBERT encoder: token ids → hidden states.

    In the reference, padding leaks into the trigrams. Here, each text has the result that the
    reference computes for it alone.
    """

    config: MobileBertConfig

    def __init__(self, config: MobileBertConfig, weights: Weights):
        super().__init__(config)
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        hidden, narrow, positions = (
            config.hidden_size,
            config.embedding_size,
            config.max_position_embeddings,
        )
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, narrow
        )
        self.position_embeddings = Embedding(
            weights, "embeddings.position_embeddings", positions, hidden
        )
        self.token_type_embeddings = Embedding(
            weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden
        )
        inputs = narrow * (3 if config.trigram_input else 1)
        # Every checkpoint has it, even if it is unused.
        transformation = Linear(weights, ("embeddings.embedding_transformation",), inputs, hidden)
        self.embedding_transformation = (
            transformation if config.trigram_input or narrow != hidden else None
        )
        self.embeddings_norm = _norm(weights, "embeddings.LayerNorm", hidden, config, _TORCH_EPS)
        self.layers = [
            MobileBertLayer(weights, f"encoder.layer.{index}", config, act)
            for index in range(config.num_hidden_layers)
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
        x = self.word_embeddings(input_ids)
        if self.config.trigram_input:
            around = tf.pad(
                x * tf.cast(attention_mask, tf.float32)[:, :, tf.newaxis], [[0, 0], [1, 1], [0, 0]]
            )
            x = tf.concat([around[:, 2:], x, around[:, :-2]], -1)
        x = tf.reshape(x, [batch * length, x.shape[-1]])
        if self.embedding_transformation is not None:
            x = self.embedding_transformation(x)
        x = tf.reshape(x, [batch, length, self.hidden_size])
        x += self.position_embeddings.first(length) + self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias, batch, length))
        return states


class MobileBertLayer(tf.Module):
    """Attention and several feed-forward blocks; with bottlenecks, they are narrower than `x`."""

    def __init__(self, weights: Weights, prefix: str, config: MobileBertConfig, act: Activation):
        super().__init__()
        self._config = config
        hidden, width, inner, eps = (
            config.hidden_size,
            config.width,
            config.intermediate_size,
            config.layer_norm_eps,
        )
        names = ("query", "key", "value")
        query, key, value = (f"{prefix}.attention.self.{name}" for name in names)
        self.query_key = Linear(weights, (query, key), width, width)
        self.value = Linear(weights, (value,), config.value_width, width)
        self.output = Linear(weights, (f"{prefix}.attention.output.dense",), width, width)
        self.attention_norm = _norm(
            weights, f"{prefix}.attention.output.LayerNorm", width, config, eps
        )
        self.ffns, self.ffn_norms = [], []
        for index in range(config.num_feedforward_networks):
            last = index == config.num_feedforward_networks - 1
            within = prefix if last else f"{prefix}.ffn.{index}"
            self.ffns.append(
                FeedForward(
                    weights,
                    (f"{within}.intermediate.dense",),
                    f"{within}.output.dense",
                    width,
                    inner,
                    act,
                )
            )
            self.ffn_norms.append(
                _norm(
                    weights,
                    f"{within}.output.LayerNorm",
                    width,
                    config,
                    _TORCH_EPS if last else eps,
                )
            )
        self.narrow = self.narrow_attention = None
        if config.use_bottleneck:
            self.narrow = Bottleneck(weights, f"{prefix}.bottleneck.input", hidden, width, config)
            if config.key_query_shared_bottleneck:
                # Checkpoints have it even if use_bottleneck_attention leaves it unused.
                self.narrow_attention = Bottleneck(
                    weights, f"{prefix}.bottleneck.attention", hidden, width, config
                )
            self.widen = Linear(weights, (f"{prefix}.output.bottleneck.dense",), width, hidden)
            self.widen_norm = _norm(
                weights, f"{prefix}.output.bottleneck.LayerNorm", hidden, config, eps
            )

    def __call__(self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        narrow = attention_input = values = x
        if self.narrow is not None:
            narrow = self.narrow(x)
            if self._config.use_bottleneck_attention:
                attention_input = values = narrow
            elif self.narrow_attention is not None:
                attention_input = self.narrow_attention(x)
        attended = self._attention(attention_input, values, bias, batch, length)
        y = self.attention_norm(attended + narrow)
        for ffn, norm in zip(self.ffns, self.ffn_norms):
            y = norm(ffn(y) + y)
        return y if self.narrow is None else self.widen_norm(self.widen(y) + x)

    def _attention(
        self, x: tf.Tensor, values: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor
    ) -> tf.Tensor:
        heads, width = self._config.num_attention_heads, self._config.width
        size = width // heads
        joined = tf.reshape(self.query_key(x), [batch, length, 2, heads, size])
        query, key = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=2)
        value = tf.transpose(
            tf.reshape(self.value(values), [batch, length, heads, size]), [0, 2, 1, 3]
        )
        mixed = tf.transpose(attend(query, key, value, bias, size**-0.5), [0, 2, 1, 3])
        return self.output(tf.reshape(mixed, [batch * length, width]))


class Bottleneck(tf.Module):
    """A linear layer and a norm."""

    def __init__(
        self, weights: Weights, prefix: str, features: int, width: int, config: MobileBertConfig
    ):
        super().__init__()
        self.dense = Linear(weights, (f"{prefix}.dense",), features, width)
        self.norm = _norm(weights, f"{prefix}.LayerNorm", width, config, config.layer_norm_eps)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, width]"""
        return self.norm(self.dense(x))


class NoNorm(tf.Module):
    """The replacement of a norm: x · weight + bias."""

    def __init__(self, weights: Weights, name: str, features: int):
        super().__init__()
        self.weight = variable(weights.take(f"{name}.weight", (features,)), "weight")
        self.bias = variable(weights.take(f"{name}.bias", (features,)), "bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        return x * self.weight + self.bias


def _norm(
    weights: Weights, name: str, features: int, config: MobileBertConfig, eps: float
) -> NoNorm | LayerNorm:
    if config.normalization_type == "no_norm":
        return NoNorm(weights, name, features)
    return LayerNorm(weights, name, features, eps)
