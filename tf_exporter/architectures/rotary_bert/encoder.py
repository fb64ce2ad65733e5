"""BERT with rotary positions: the base of NomicBERT, GTE and Jina embeddings v3.

The models, as in transformers 5.24, differ in tensor names, biases and feed-forward parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.rotary_bert.config import RotaryBertConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import (
    PostNormLayer,
    SelfAttention,
    long_bias,
    padding_bias,
    through_layers,
)
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm
from tf_exporter.layers.experts import Experts
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.weights import Weights


@dataclass(frozen=True)
class Names:
    """Tensor names of a checkpoint; tuples are arguments of `SelfAttention` and `FeedForward`."""

    embeddings_norm: str
    layer: str
    attention: tuple[str, ...]
    attention_norm: str
    up: tuple[str, ...]
    """If gated, the half with the activation comes last."""
    down: str
    output_norm: str


QKVO = tuple(f"self_attn.{name}_proj" for name in "qkvo")


class RotaryBert(BaseEncoder):
    """The base class of BERT with rotary positions: token ids → hidden states."""

    config: RotaryBertConfig
    names: tuple[Names, ...]
    """Names in published checkpoints, which transformers saves too, then those in its classes."""
    gated = True
    attention_bias = True
    up_bias = False
    down_bias = True

    def __init__(self, config: RotaryBertConfig, weights: Weights):
        super().__init__(config)
        hidden = config.hidden_size
        names = next(
            (
                names
                for names in self.names
                if f"{names.layer.format(0)}.{names.output_norm}.weight" in weights
            ),
            None,
        )
        names = names or self.names[0]
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, hidden
        )
        self.token_type_embeddings = None
        if config.type_vocab_size:
            self.token_type_embeddings = Embedding(
                weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden
            )
        self.embeddings_norm = LayerNorm(
            weights, names.embeddings_norm, hidden, config.layer_norm_eps
        )
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = names.layer.format(index)
            self.layers.append(
                PostNormLayer(
                    SelfAttention(
                        weights,
                        prefix,
                        names.attention,
                        hidden,
                        config.num_attention_heads,
                        size=config.head_size,
                        bias=self.attention_bias,
                    ),
                    LayerNorm(
                        weights, f"{prefix}.{names.attention_norm}", hidden, config.layer_norm_eps
                    ),
                    self._feed_forward(weights, names, index),
                    LayerNorm(
                        weights, f"{prefix}.{names.output_norm}", hidden, config.layer_norm_eps
                    ),
                )
            )
        self._rotary = Rotary(config.rope)

    def _feed_forward(self, weights: Weights, names: Names, index: int) -> FeedForward | Experts:
        """The feed-forward part of the layer with this index."""
        prefix = names.layer.format(index)
        return FeedForward(
            weights,
            tuple(f"{prefix}.{name}" for name in names.up),
            f"{prefix}.{names.down}",
            self.hidden_size,
            self.config.intermediate_size,
            TRANSFORMERS_ACTIVATIONS[self.config.hidden_act],
            gated=self.gated,
            gate_first=False,
            bias=self.up_bias,
            down_bias=self.down_bias,
        )

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
        if self.token_type_embeddings is not None:
            x += self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids), self._rotary(length))
