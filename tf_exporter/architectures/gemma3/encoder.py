"""The encoder of Gemma 2 and Gemma 3 (Gemma team, 2024 and 2025), as in transformers 5.24.

Attention and feed-forward have a norm before and a norm after them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.gemma3.config import GemmaLayersConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import Bias, biases_by_type, fed_forward
from tf_exporter.layers.basic import Embedding, FeedForward, RMSNorm
from tf_exporter.layers.grouped_attention import GroupedAttention
from tf_exporter.layers.rotary import Angles, Rotary
from tf_exporter.model.weights import Weights

_GAIN = 1.0
"""Added to the weights of all norms."""


class Gemma3Layer(tf.Module):
    """Attention and feed-forward, with a norm before and after each."""

    def __init__(
        self,
        prefix: str,
        norm: Callable[[str], RMSNorm],
        attention: GroupedAttention,
        ffn: FeedForward,
    ):
        super().__init__()
        self.attention_norm, self.attention_output_norm = (
            norm(f"{prefix}.input_layernorm"),
            norm(f"{prefix}.post_attention_layernorm"),
        )
        self.ffn_norm, self.ffn_output_norm = (
            norm(f"{prefix}.pre_feedforward_layernorm"),
            norm(f"{prefix}.post_feedforward_layernorm"),
        )
        self.attention, self.ffn = attention, ffn

    def __call__(
        self, x: tf.Tensor, bias: Bias, batch: tf.Tensor, length: tf.Tensor, angles: Angles
    ) -> tf.Tensor:
        x = x + self.attention_output_norm(
            self.attention(self.attention_norm(x), bias, batch, length, angles)
        )
        return x + self.ffn_output_norm(fed_forward(self.ffn, self.ffn_norm(x), bias))


class Gemma3(BaseEncoder):
    """The encoder of Gemma 2 and Gemma 3: token ids → hidden states."""

    config: GemmaLayersConfig

    def __init__(self, config: GemmaLayersConfig, weights: Weights):
        super().__init__(config)
        hidden, heads = config.hidden_size, (config.num_attention_heads, config.key_value_heads)
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_activation]
        self._causal, self._window, self._types = (
            config.causal,
            config.window,
            list(config.layer_types),
        )
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self._scale = math.sqrt(hidden)
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = f"layers.{index}"
            attention = GroupedAttention(
                weights,
                f"{prefix}.self_attn",
                hidden,
                heads,
                config.head_dim,
                scale=config.query_pre_attn_scalar**-0.5,
                bias=config.attention_bias,
                output_bias=config.attention_bias,
                norm=(config.rms_norm_eps, _GAIN) if config.norms_heads else None,
                softcap=config.softcap,
            )
            up = (f"{prefix}.mlp.gate_proj", f"{prefix}.mlp.up_proj")
            ffn = FeedForward(
                weights,
                up,
                f"{prefix}.mlp.down_proj",
                hidden,
                config.intermediate_size,
                act,
                gated=True,
                bias=False,
            )
            self.layers.append(
                Gemma3Layer(prefix, lambda name: self._norm(weights, name), attention, ffn)
            )
        self._rotary = {name: Rotary(rope) for name, rope in config.ropes.items()}
        self.norm = self._norm(weights, "norm")

    def _norm(self, weights: Weights, name: str) -> RMSNorm:
        return RMSNorm(weights, name, self.hidden_size, self.config.rms_norm_eps, _GAIN)

    @property
    def token_table(self) -> Embedding:
        return self.embed_tokens

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(
            self.embed_tokens(input_ids) * self._scale, [batch * length, self.hidden_size]
        )
        biases = biases_by_type(attention_mask, self._causal, self._window, long)
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        states = [x]
        for name, layer in zip(self._types, self.layers):
            states.append(layer(states[-1], biases[name], batch, length, angles[name]))
        return [*states[:-1], self.norm(states[-1])]
