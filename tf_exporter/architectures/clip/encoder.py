"""The text tower of CLIP (A. Radford et al., 2021), as `transformers.models.clip` 5.24.

A causal encoder with a norm before each part.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.clip.config import ClipConfig, ClipTextConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import PreNormLayer, SelfAttention, biases_by_type
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm
from tf_exporter.model.weights import Weights

_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


class ClipText(BaseEncoder):
    """The text tower: token ids → hidden states, and the last one after the final norm."""

    config: ClipTextConfig

    def __init__(self, config: ClipTextConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.layer_norm_eps
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        self._causal = True
        self.word_embeddings = Embedding(
            weights, "embeddings.token_embedding", config.vocab_size, hidden
        )
        self.position_embeddings = Embedding(
            weights, "embeddings.position_embedding", config.max_position_embeddings, hidden
        )
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = f"encoder.layers.{index}"
            up, down = f"{prefix}.mlp.fc1", f"{prefix}.mlp.fc2"
            self.layers.append(
                PreNormLayer(
                    LayerNorm(weights, f"{prefix}.layer_norm1", hidden, eps),
                    SelfAttention(
                        weights,
                        f"{prefix}.self_attn",
                        _ATTENTION,
                        hidden,
                        config.num_attention_heads,
                    ),
                    LayerNorm(weights, f"{prefix}.layer_norm2", hidden, eps),
                    FeedForward(weights, (up,), down, hidden, config.intermediate_size, act),
                )
            )
        self.final_layer_norm = LayerNorm(weights, "final_layer_norm", hidden, eps)

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
        x = self.word_embeddings(input_ids) + self.position_embeddings.first(length)
        states = [tf.reshape(x, [batch * length, self.hidden_size])]
        bias = biases_by_type(attention_mask, self._causal, None, long)["full_attention"]
        for layer in self.layers:
            states.append(layer(states[-1], bias, batch, length))
        return [*states, self.final_layer_norm(states[-1])]


class Clip(ClipText):
    """The text tower of the whole model."""

    def __init__(self, config: ClipConfig, weights: Weights):
        super().__init__(config.text, weights)
