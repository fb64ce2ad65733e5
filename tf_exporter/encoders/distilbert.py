"""DistilBERT (V. Sanh et al., 2019), as `transformers.models.distilbert` 5.23: BERT's layers, no segments."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.distilbert import EPS, DistilBertConfig
from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, long_bias, padding_bias, through_layers
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.training import dropped
from tf_exporter.weights import Weights


class DistilBert(Encoder):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: DistilBertConfig

    def __init__(self, config: DistilBertConfig, weights: Weights):
        super().__init__(config)
        act, positions = TRANSFORMERS_ACTIVATIONS[config.activation], config.max_position_embeddings
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, config.dim)
        self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", positions, config.dim)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", config.dim, EPS)
        self.layers = []
        for index in range(config.n_layers):
            at = f"transformer.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    SelfAttention(weights, f"{at}.attention", ("q_lin", "k_lin", "v_lin", "out_lin"), config.dim, config.n_heads),
                    LayerNorm(weights, f"{at}.sa_layer_norm", config.dim, EPS),
                    FeedForward(weights, (f"{at}.ffn.lin1",), f"{at}.ffn.lin2", config.dim, config.hidden_dim, act),
                    LayerNorm(weights, f"{at}.output_layer_norm", config.dim, EPS),
                )
            )

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.word_embeddings

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        inputs: list[tf.Tensor] | None = None,
        *,
        long: bool = False,
    ) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size].

        `inputs`: gets those of the layers, float32 [batch · length, hidden_size] each; `long`: with attention in blocks.
        """
        x = self.word_embeddings(input_ids) + self.position_embeddings.first(tf.shape(input_ids)[1])
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), self.hidden_size])))
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids), inputs)
