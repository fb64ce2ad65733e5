"""ModernBERT (B. Warner et al., 2024), as `transformers.models.modernbert` 5.23: rotary positions, most layers local."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.modernbert import ModernBertConfig
from tf_exporter.encoders.attention import PreNormLayer, SelfAttention, biases_by_type
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.rotary import Rotary
from tf_exporter.weights import Weights


class ModernBert(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: ModernBertConfig

    def __init__(self, config: ModernBertConfig, weights: Weights):
        super().__init__(config)
        hidden, heads = config.hidden_size, config.num_attention_heads
        act = TRANSFORMERS_ACTIVATIONS[config.hidden_activation]
        self.tok_embeddings = Embedding(weights, "embeddings.tok_embeddings", config.vocab_size, hidden)
        self.embeddings_norm = self._norm(weights, "embeddings.norm")
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"layers.{index}"
            names = (f"{at}.mlp.Wi",)
            self.layers.append(
                PreNormLayer(
                    self._norm(weights, f"{at}.attn_norm") if index else None,
                    SelfAttention(weights, f"{at}.attn", ("Wqkv", "Wo"), hidden, heads, bias=config.attention_bias),
                    self._norm(weights, f"{at}.mlp_norm"),
                    FeedForward(
                        weights, names, f"{at}.mlp.Wo", hidden, config.intermediate_size, act, gated=True, bias=config.mlp_bias
                    ),
                )
            )
        self._types = list(config.layer_types)
        self._rotary = {name: Rotary(rope) for name, rope in config.ropes.items()}
        self.final_norm = self._norm(weights, "final_norm")

    def _norm(self, weights: Weights, name: str) -> LayerNorm:
        return LayerNorm(weights, name, self.hidden_size, self.config.norm_eps, self.config.norm_bias)

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.tok_embeddings

    def __call__(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor, *, long: bool = False
    ) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.embeddings_norm(tf.reshape(self.tok_embeddings(input_ids), [batch * length, self.hidden_size]))
        # Inclusive, half of the width on each side.
        biases = biases_by_type(attention_mask, causal=False, window=self.config.local_attention // 2, long=long)
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        for name, layer in zip(self._types, self.layers):
            x = layer(x, biases[name], batch, length, angles[name])
        return tf.reshape(self.final_norm(x), [batch, length, self.hidden_size])
