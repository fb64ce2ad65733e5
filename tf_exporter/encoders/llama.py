"""The layout of Llama (H. Touvron et al., 2023), which Qwen2, Qwen3 and EuroBERT have in common."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.llama import LlamaConfig
from tf_exporter.encoders.attention import PreNormLayer, biases_by_type
from tf_exporter.encoders.blocks import Embedding, FeedForward, RMSNorm
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.grouped_attention import GroupedAttention
from tf_exporter.encoders.rotary import Rotary
from tf_exporter.weights import Weights


class Llama(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: LlamaConfig

    def __init__(self, config: LlamaConfig, weights: Weights):
        super().__init__(config)
        hidden, eps = config.hidden_size, config.rms_norm_eps
        heads = config.num_attention_heads, config.key_value_heads
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_act]
        self._causal, self._window, self._types = config.causal, config.window, list(config.layer_types)
        bias, output_bias, inner_bias = config.biases
        norm = (eps, 0.0) if config.norms_heads else None
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"layers.{index}"
            mlp, up = f"{at}.mlp", (f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj")
            inner = config.intermediate_size
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{at}.input_layernorm", hidden, eps),
                    GroupedAttention(
                        weights,
                        f"{at}.self_attn",
                        hidden,
                        heads,
                        config.head_size,
                        bias=bias,
                        output_bias=output_bias,
                        norm=norm,
                    ),
                    RMSNorm(weights, f"{at}.post_attention_layernorm", hidden, eps),
                    FeedForward(weights, up, f"{mlp}.down_proj", hidden, inner, act, gated=True, bias=inner_bias),
                )
            )
        self._rotary = Rotary(config.rope)
        self.norm = RMSNorm(weights, "norm", hidden, eps)

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.embed_tokens

    def __call__(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor, *, long: bool = False
    ) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.embed_tokens(input_ids), [batch * length, self.hidden_size])
        biases = biases_by_type(attention_mask, self._causal, self._window, long)
        angles = self._rotary(length)
        for name, layer in zip(self._types, self.layers):
            x = layer(x, biases[name], batch, length, angles)
        return tf.reshape(self.norm(x), [batch, length, self.hidden_size])
