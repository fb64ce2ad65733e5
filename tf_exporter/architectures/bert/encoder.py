"""BERT (J. Devlin et al., 2018), as `transformers.models.bert` 5.24: the base of many encoders."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.bert.config import BertConfig, LayersConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.layers.attention import (
    PostNormLayer,
    SelfAttention,
    long_bias,
    padding_bias,
    through_layers,
)
from tf_exporter.layers.basic import Embedding, FeedForward, LayerNorm, Linear
from tf_exporter.layers.training import dropped
from tf_exporter.model.weights import Weights


class Bert(BaseEncoder):
    """The BERT encoder: token ids → hidden states."""

    config: BertConfig

    def __init__(self, config: BertConfig, weights: Weights):
        super().__init__(config)
        width = self._embedding_size()
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, width
        )
        self.position_embeddings = Embedding(
            weights, "embeddings.position_embeddings", config.max_position_embeddings, width
        )
        self.token_type_embeddings = Embedding(
            weights, "embeddings.token_type_embeddings", config.type_vocab_size, width
        )
        self.embeddings_norm = LayerNorm(
            weights, "embeddings.LayerNorm", width, config.layer_norm_eps
        )
        self.embeddings_project = self._project(weights)
        self.layers = self._layers(weights, TRANSFORMERS_ACTIVATIONS[config.hidden_act])

    def _embedding_size(self) -> int:
        return self.config.hidden_size

    def _project(self, weights: Weights) -> Linear | None:
        """The layer from the width of the embeddings to `hidden_size`, if they differ."""
        return None

    def _layers(self, weights: Weights, act: Activation) -> list[PostNormLayer]:
        return bert_layers(weights, self.config, act)

    @property
    def token_table(self) -> Embedding:
        return self.word_embeddings

    def positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        """The position embeddings, float32 [length, width] or [batch, length, width]."""
        return self.position_embeddings.first(tf.shape(input_ids)[1])

    def embedded(self, input_ids: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """The input of the first layer, float32 [batch · length, hidden_size].

        `input_ids` and `token_type_ids` are int32 [batch, length].
        """
        x = (
            self.word_embeddings(input_ids)
            + self.token_type_embeddings(token_type_ids)
            + self.positions(input_ids)
        )
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), x.shape[-1]])))
        return x if self.embeddings_project is None else self.embeddings_project(x)

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        x = self.embedded(input_ids, token_type_ids)
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids))


def bert_layers(
    weights: Weights,
    config: LayersConfig,
    act: Activation,
    attention: tuple[str, str, str, str] = ("self.query", "self.key", "self.value", "output.dense"),
    attention_norm: str = "output.LayerNorm",
) -> list[PostNormLayer]:
    """Builds the layers under `encoder.layer`.

    `attention`: the names of the query, key, value and output layers.
    """
    hidden, eps = config.hidden_size, config.layer_norm_eps
    layers = []
    for index in range(config.num_hidden_layers):
        prefix = f"encoder.layer.{index}"
        up, down = f"{prefix}.intermediate.dense", f"{prefix}.output.dense"
        layers.append(
            PostNormLayer(
                SelfAttention(
                    weights, f"{prefix}.attention", attention, hidden, config.num_attention_heads
                ),
                LayerNorm(weights, f"{prefix}.attention.{attention_norm}", hidden, eps),
                FeedForward(weights, (up,), down, hidden, config.intermediate_size, act),
                LayerNorm(weights, f"{prefix}.output.LayerNorm", hidden, eps),
            )
        )
    return layers
