"""BERT (J. Devlin et al., 2018), as `transformers.models.bert` 5.23; its relatives differ in a few places each."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.architectures.bert import BertConfig, LayersConfig
from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, long_bias, padding_bias, through_layers
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm, Linear
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.training import dropped
from tf_exporter.weights import Weights


class Bert(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: BertConfig

    def __init__(self, config: BertConfig, weights: Weights):
        super().__init__(config)
        width = self._embedding_size()
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, width)
        self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", config.max_position_embeddings, width)
        self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", config.type_vocab_size, width)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", width, config.layer_norm_eps)
        self.embeddings_project = self._project(weights)
        self.layers = self._layers(weights, TRANSFORMERS_ACTIVATIONS[config.hidden_act])

    def _embedding_size(self) -> int:
        return self.config.hidden_size

    def _project(self, weights: Weights) -> Linear | None:
        """From the width of the embeddings to that of the layers."""
        return None

    def _layers(self, weights: Weights, act: Activation) -> list[PostNormLayer]:
        return bert_layers(weights, self.config, act)

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.word_embeddings

    def positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        """int32 ids [batch, length] → the embeddings of their positions, float32 [length, width] or with a batch."""
        return self.position_embeddings.first(tf.shape(input_ids)[1])

    def embedded(self, input_ids: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each → what the layers get, float32 [batch · length, hidden_size]."""
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids) + self.positions(input_ids)
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), x.shape[-1]])))
        return x if self.embeddings_project is None else self.embeddings_project(x)

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        inputs: list[tf.Tensor] | None = None,
        *,
        long: bool = False,
    ) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size].

        `inputs`: gets those of the layers, float32 [batch · length, hidden_size] each; `long`: with attention in blocks.
        """
        x = self.embedded(input_ids, token_type_ids)
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids), inputs)


def bert_layers(
    weights: Weights,
    config: LayersConfig,
    act: Activation,
    attention: tuple[str, str, str, str] = ("self.query", "self.key", "self.value", "output.dense"),
    attention_norm: str = "output.LayerNorm",
) -> list[PostNormLayer]:
    """The layers of `encoder.layer`; `attention`: what they call query, key, value and output."""
    hidden, eps = config.hidden_size, config.layer_norm_eps
    layers = []
    for index in range(config.num_hidden_layers):
        at = f"encoder.layer.{index}"
        up, down = f"{at}.intermediate.dense", f"{at}.output.dense"
        layers.append(
            PostNormLayer(
                SelfAttention(weights, f"{at}.attention", attention, hidden, config.num_attention_heads),
                LayerNorm(weights, f"{at}.attention.{attention_norm}", hidden, eps),
                FeedForward(weights, (up,), down, hidden, config.intermediate_size, act),
                LayerNorm(weights, f"{at}.output.LayerNorm", hidden, eps),
            )
        )
    return layers
