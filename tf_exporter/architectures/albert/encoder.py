"""ALBERT (Z. Lan et al., 2019), as `transformers.models.albert` 5.24.

BERT with narrower embeddings and shared layers.
"""

from __future__ import annotations

from tf_exporter.architectures.albert.config import AlbertConfig
from tf_exporter.architectures.bert.encoder import Bert
from tf_exporter.layers.activations import Activation
from tf_exporter.layers.attention import PostNormLayer, SelfAttention
from tf_exporter.layers.basic import FeedForward, LayerNorm, Linear
from tf_exporter.model.weights import Weights


class Albert(Bert):
    """The ALBERT encoder: token ids → hidden states."""

    config: AlbertConfig

    def _embedding_size(self) -> int:
        return self.config.embedding_size

    def _project(self, weights: Weights) -> Linear | None:
        return Linear(
            weights,
            ("encoder.embedding_hidden_mapping_in",),
            self.config.embedding_size,
            self.config.hidden_size,
        )

    def _layers(self, weights: Weights, act: Activation) -> list[PostNormLayer]:
        config = self.config
        groups = [
            [
                self._layer(
                    weights, f"encoder.albert_layer_groups.{group}.albert_layers.{index}", act
                )
                for index in range(config.inner_group_num)
            ]
            for group in range(config.num_hidden_groups)
        ]
        # The reference divides in floating point.
        per_group = config.num_hidden_layers / config.num_hidden_groups
        return [
            layer
            for index in range(config.num_hidden_layers)
            for layer in groups[int(index / per_group)]
        ]

    def _layer(self, weights: Weights, prefix: str, act: Activation) -> PostNormLayer:
        hidden, eps = self.config.hidden_size, self.config.layer_norm_eps
        names = ("query", "key", "value", "dense")
        return PostNormLayer(
            SelfAttention(
                weights, f"{prefix}.attention", names, hidden, self.config.num_attention_heads
            ),
            LayerNorm(weights, f"{prefix}.attention.LayerNorm", hidden, eps),
            FeedForward(
                weights,
                (f"{prefix}.ffn",),
                f"{prefix}.ffn_output",
                hidden,
                self.config.intermediate_size,
                act,
            ),
            LayerNorm(weights, f"{prefix}.full_layer_layer_norm", hidden, eps),
        )
