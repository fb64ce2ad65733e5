"""BERT (J. Devlin et al., 2018), as `transformers.models.bert` 5.23; ELECTRA's discriminator is the same encoder."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.blocks import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    PostNormLayer,
    SelfAttention,
    padding_bias,
)
from tf_exporter.encoders.config import activation, check_heads, read_config
from tf_exporter.source import ConfigFile
from tf_exporter.weights import Weights

UNUSED = (
    r"(.*\.)?embeddings\.position_ids",
    r"(.*\.)?embeddings\.token_type_ids",
    r"pooler\..*",
    r"cls\..*",
    r"classifier\..*",
    r"qa_outputs\..*",
)
"""Tensors of heads and buffers."""


@dataclass(frozen=True)
class BertConfig:
    """`transformers.BertConfig`: the keys that change a token embedding."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class Bert(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    prefix = "bert"
    padding_shifts_positions = True
    unused: tuple[str, ...] = UNUSED

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        config = self._read(file)
        hidden, eps = config.hidden_size, config.layer_norm_eps
        check_heads(file, "num_attention_heads", hidden, config.num_attention_heads)
        act = activation(file, "hidden_act", config.hidden_act)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, config.type_vocab_size
        self.max_length = self.max_position_embeddings = config.max_position_embeddings
        width = self._embedding_size(config)
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, width)
        self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", self.max_length, width)
        self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", config.type_vocab_size, width)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", width, eps)
        self.embeddings_project = Linear(weights, ("embeddings_project",), width, hidden) if width != hidden else None
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"encoder.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    SelfAttention(
                        weights,
                        f"{at}.attention",
                        ("self.query", "self.key", "self.value", "output.dense"),
                        hidden,
                        config.num_attention_heads,
                    ),
                    LayerNorm(weights, f"{at}.attention.output.LayerNorm", hidden, eps),
                    FeedForward(
                        weights,
                        f"{at}.intermediate.dense",
                        f"{at}.output.dense",
                        hidden,
                        config.intermediate_size,
                        act,
                    ),
                    LayerNorm(weights, f"{at}.output.LayerNorm", hidden, eps),
                )
            )

    @staticmethod
    def _read(file: ConfigFile) -> BertConfig:
        return read_config(file, BertConfig)

    @staticmethod
    def _embedding_size(config: BertConfig) -> int:
        return config.hidden_size

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = x + self.position_embeddings.weight[:length]
        x = self.embeddings_norm(tf.reshape(x, [batch * length, x.shape[-1]]))
        if self.embeddings_project is not None:
            x = self.embeddings_project(x)
        bias = padding_bias(attention_mask)
        for layer in self.layers:
            x = layer(x, bias, batch, length)
        return tf.reshape(x, [batch, length, self.hidden_size])
