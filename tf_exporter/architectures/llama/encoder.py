"""Layers of Llama (H. Touvron et al., 2023), for Qwen2, Qwen3 and EuroBERT of transformers 5.24."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.llama.config import LlamaConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import PreNormLayer, biases_by_type
from tf_exporter.layers.basic import Embedding, FeedForward, RMSNorm
from tf_exporter.layers.grouped_attention import GroupedAttention
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.weights import Weights


class Llama(BaseEncoder):
    """An encoder with Llama's layers: token ids → hidden states."""

    config: LlamaConfig

    def __init__(self, config: LlamaConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.rms_norm_eps
        heads = config.num_attention_heads, config.key_value_heads
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        self._causal, self._window, self._types = (
            config.causal,
            config.window,
            list(config.layer_types),
        )
        bias, output_bias, inner_bias = config.biases
        norm = (eps, 0.0) if config.norms_heads else None
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = f"layers.{index}"
            mlp, up = f"{prefix}.mlp", (f"{prefix}.mlp.gate_proj", f"{prefix}.mlp.up_proj")
            inner = config.intermediate_size
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{prefix}.input_layernorm", hidden, eps),
                    GroupedAttention(
                        weights,
                        f"{prefix}.self_attn",
                        hidden,
                        heads,
                        config.head_size,
                        bias=bias,
                        output_bias=output_bias,
                        norm=norm,
                    ),
                    RMSNorm(weights, f"{prefix}.post_attention_layernorm", hidden, eps),
                    FeedForward(
                        weights,
                        up,
                        f"{mlp}.down_proj",
                        hidden,
                        inner,
                        act,
                        gated=True,
                        bias=inner_bias,
                    ),
                )
            )
        self._rotary = Rotary(config.rope)
        self.norm = RMSNorm(weights, "norm", hidden, eps)

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
        x = tf.reshape(self.embed_tokens(input_ids), [batch * length, self.hidden_size])
        biases = biases_by_type(attention_mask, self._causal, self._window, long)
        angles = self._rotary(length)
        states = [x]
        for name, layer in zip(self._types, self.layers):
            states.append(layer(states[-1], biases[name], batch, length, angles))
        return [*states[:-1], self.norm(states[-1])]
