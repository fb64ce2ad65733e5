"""BERT with rotary positions: the skeleton of NomicBERT, GTE and Jina's third embeddings, which differ in names and biases."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.rotary_bert import RotaryBertConfig
from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, long_bias, padding_bias
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.rotary import Rotary
from tf_exporter.weights import Weights


@dataclass(frozen=True)
class Names:
    """What a checkpoint calls the parts of a layer; layers that are joined, query, key and value or both halves, in order."""

    embeddings_norm: str
    layer: str
    attention: tuple[str, ...]
    attention_norm: str
    up: tuple[str, ...]
    """Where gated, what the activation is for comes last."""
    down: str
    output_norm: str


QKVO = tuple(f"self_attn.{name}_proj" for name in "qkvo")


class RotaryBert(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: RotaryBertConfig
    names: tuple[Names, ...]
    """Those of the published checkpoints, which transformers writes too, and those of its own class."""
    gated = True
    attention_bias = True
    up_bias = False
    down_bias = True

    def __init__(self, config: RotaryBertConfig, weights: Weights):
        super().__init__(config)
        hidden = config.hidden_size
        names = next((names for names in self.names if f"{names.layer.format(0)}.{names.output_norm}.weight" in weights), None)
        names = names or self.names[0]
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, hidden)
        self.token_type_embeddings = None
        if config.type_vocab_size:
            self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden)
        self.embeddings_norm = LayerNorm(weights, names.embeddings_norm, hidden, config.layer_norm_eps)
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = names.layer.format(index)
            self.layers.append(
                PostNormLayer(
                    SelfAttention(
                        weights,
                        at,
                        names.attention,
                        hidden,
                        config.num_attention_heads,
                        size=config.head_size,
                        bias=self.attention_bias,
                    ),
                    LayerNorm(weights, f"{at}.{names.attention_norm}", hidden, config.layer_norm_eps),
                    FeedForward(
                        weights,
                        tuple(f"{at}.{name}" for name in names.up),
                        f"{at}.{names.down}",
                        hidden,
                        config.intermediate_size,
                        act,
                        gated=self.gated,
                        gate_first=False,
                        bias=self.up_bias,
                        down_bias=self.down_bias,
                    ),
                    LayerNorm(weights, f"{at}.{names.output_norm}", hidden, config.layer_norm_eps),
                )
            )
        self._rotary = Rotary(config.rope)

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.word_embeddings

    def __call__(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor, *, long: bool = False
    ) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.word_embeddings(input_ids)
        if self.token_type_embeddings is not None:
            x += self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        angles = self._rotary(length)
        for layer in self.layers:
            x = layer(x, bias, batch, length, angles)
        return tf.reshape(x, [batch, length, self.hidden_size])
