"""Layers of Llama (H. Touvron et al., 2023), as transformers 5.24 has them in many decoders."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.llama.config import LlamaLayersConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import PreNormLayer, biases_by_type
from tf_exporter.layers.basic import Embedding, FeedForward, RMSNorm
from tf_exporter.layers.grouped_attention import GroupedAttention, query_factors
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.weights import Weights


class Llama(BaseEncoder):
    """An encoder with Llama's layers: token ids → hidden states."""

    config: LlamaLayersConfig

    def __init__(self, config: LlamaLayersConfig, weights: Weights):
        super().__init__(config)
        hidden = config.hidden_size
        self._causal, self._window, self._types = (
            config.causal,
            config.window,
            list(config.layer_types),
        )
        self._scale = math.sqrt(hidden) if config.scales_embeddings else None
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self.layers = [
            PreNormLayer(
                self._norm(weights, f"{prefix}.input_layernorm"),
                self._attention(weights, f"{prefix}.self_attn"),
                self._norm(weights, f"{prefix}.post_attention_layernorm"),
                self._feed_forward(weights, f"{prefix}.mlp"),
            )
            for prefix in (f"layers.{index}" for index in range(config.num_hidden_layers))
        ]
        self._rotary, self._temperature = Rotary(config.rope), config.temperature
        self.norm = self._norm(weights, "norm")

    def _norm(self, weights: Weights, name: str) -> RMSNorm:
        config = self.config
        return RMSNorm(weights, name, config.hidden_size, config.rms_norm_eps, config.norm_offset)

    def _attention(self, weights: Weights, prefix: str) -> GroupedAttention:
        config = self.config
        bias, output_bias, _ = config.biases
        return GroupedAttention(
            weights,
            prefix,
            config.hidden_size,
            (config.num_attention_heads, config.key_value_heads),
            config.head_size,
            bias=bias,
            output_bias=output_bias,
            norm=(config.rms_norm_eps, config.norm_offset) if config.norms_heads else None,
            fused=config.fused,
        )

    def _feed_forward(self, weights: Weights, prefix: str) -> FeedForward:
        config = self.config
        up = ("gate_up_proj",) if config.fused else ("gate_proj", "up_proj")
        return FeedForward(
            weights,
            tuple(f"{prefix}.{name}" for name in up),
            f"{prefix}.down_proj",
            config.hidden_size,
            config.intermediate_size,
            TRANSFORMERS_ACTIVATIONS[config.hidden_act],
            gated=True,
            bias=config.biases[2],
        )

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
        x = self.embed_tokens(input_ids)
        x = tf.reshape(x if self._scale is None else x * self._scale, [-1, self.hidden_size])
        biases = biases_by_type(attention_mask, self._causal, self._window, long)
        angles = self._rotary(length)
        temperature = self._temperature
        factors = None if temperature is None else query_factors(temperature, attention_mask)
        states = [x]
        for name, layer in zip(self._types, self.layers):
            states.append(layer(states[-1], biases[name], batch, length, angles, factors))
        return [*states[:-1], self.norm(states[-1])]
