"""ModernBERT (B. Warner et al., 2024), as `transformers.models.modernbert` 5.24.

Rotary positions, and local attention in most layers.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.modernbert.config import ModernBertConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import PreNormLayer, SelfAttention, biases_by_type
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.weights import Weights


class ModernBert(BaseEncoder):
    """The ModernBERT encoder: token ids → hidden states."""

    config: ModernBertConfig

    def __init__(self, config: ModernBertConfig, weights: Weights):
        super().__init__(config)
        hidden, heads = config.hidden_size, config.num_attention_heads
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_activation]
        self.tok_embeddings = Embedding(
            weights, "embeddings.tok_embeddings", config.vocab_size, hidden
        )
        self.embeddings_norm = self._norm(weights, "embeddings.norm")
        self.layers = []
        for index in range(config.num_hidden_layers):
            prefix = f"layers.{index}"
            names = (f"{prefix}.mlp.Wi",)
            self.layers.append(
                PreNormLayer(
                    self._norm(weights, f"{prefix}.attn_norm") if index else None,
                    SelfAttention(
                        weights,
                        f"{prefix}.attn",
                        ("Wqkv", "Wo"),
                        hidden,
                        heads,
                        bias=config.attention_bias,
                    ),
                    self._norm(weights, f"{prefix}.mlp_norm"),
                    FeedForward(
                        weights,
                        names,
                        f"{prefix}.mlp.Wo",
                        hidden,
                        config.intermediate_size,
                        act,
                        gated=True,
                        bias=config.mlp_bias,
                    ),
                )
            )
        self._types = list(config.layer_types)
        self._rotary = {name: Rotary(rope) for name, rope in config.ropes.items()}
        self.final_norm = self._norm(weights, "final_norm")

    def _norm(self, weights: Weights, name: str) -> LayerNorm:
        return LayerNorm(
            weights, name, self.hidden_size, self.config.norm_eps, self.config.norm_bias
        )

    @property
    def token_table(self) -> Embedding:
        return self.tok_embeddings

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.embeddings_norm(
            tf.reshape(self.tok_embeddings(input_ids), [batch * length, self.hidden_size])
        )
        # The window is inclusive, with half of the width on each side.
        biases = biases_by_type(
            attention_mask, causal=False, window=self.config.local_attention // 2, long=long
        )
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        states = [x]
        for name, layer in zip(self._types, self.layers):
            states.append(layer(states[-1], biases[name], batch, length, angles[name]))
        return [*states[:-1], self.final_norm(states[-1])]
