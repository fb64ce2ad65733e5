"""DistilBERT (V. Sanh et al., 2019), as `transformers.models.distilbert` 5.24: no segments."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.distilbert.config import EPS, DistilBertConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import (
    PostNormLayer,
    SelfAttention,
    long_bias,
    padding_bias,
    through_layers,
)
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm
from tf_exporter.layers.training import dropped
from tf_exporter.model.weights import Weights


class DistilBert(BaseEncoder):
    """The DistilBERT encoder: token ids → hidden states."""

    config: DistilBertConfig

    def __init__(self, config: DistilBertConfig, weights: Weights):
        super().__init__(config)
        act, positions = TRANSFORMERS_ACTIVATIONS[config.activation], config.max_position_embeddings
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, config.dim
        )
        self.position_embeddings = Embedding(
            weights, "embeddings.position_embeddings", positions, config.dim
        )
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", config.dim, EPS)
        self.layers = []
        for index in range(config.n_layers):
            prefix = f"transformer.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    SelfAttention(
                        weights,
                        f"{prefix}.attention",
                        ("q_lin", "k_lin", "v_lin", "out_lin"),
                        config.dim,
                        config.n_heads,
                    ),
                    LayerNorm(weights, f"{prefix}.sa_layer_norm", config.dim, EPS),
                    FeedForward(
                        weights,
                        (f"{prefix}.ffn.lin1",),
                        f"{prefix}.ffn.lin2",
                        config.dim,
                        config.hidden_dim,
                        act,
                    ),
                    LayerNorm(weights, f"{prefix}.output_layer_norm", config.dim, EPS),
                )
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
        x = self.word_embeddings(input_ids) + self.position_embeddings.first(tf.shape(input_ids)[1])
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), self.hidden_size])))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids))
