"""MPNet (K. Song et al., 2020), as `transformers.models.mpnet` 5.24.

BERT's layers with relative positions that all layers share.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.bert.encoder import bert_layers
from tf_exporter.architectures.mpnet.config import BUCKETS, PADDING_INDEX, MPNetConfig
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import (
    Bias,
    RelativeBias,
    long_bias,
    padding_bias,
    positions_of_tokens,
    through_layers,
)
from tf_exporter.layers.basic import Embedding, LayerNorm
from tf_exporter.layers.training import dropped
from tf_exporter.model.weights import Weights

_MAX_DISTANCE = 128


class MPNet(BaseEncoder):
    """The MPNet encoder: token ids → hidden states."""

    config: MPNetConfig

    def __init__(self, config: MPNetConfig, weights: Weights):
        super().__init__(config)
        hidden, eps, heads = config.hidden_size, config.layer_norm_eps, config.num_attention_heads
        act, positions = TRANSFORMERS_ACTIVATIONS[config.hidden_act], config.max_position_embeddings
        self.word_embeddings = Embedding(
            weights, "embeddings.word_embeddings", config.vocab_size, hidden
        )
        self.position_embeddings = Embedding(
            weights, "embeddings.position_embeddings", positions, hidden
        )
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", hidden, eps)
        name, rows = "encoder.relative_attention_bias", config.relative_attention_num_buckets
        self.relative_attention_bias = RelativeBias(
            weights, name, rows, heads, BUCKETS, _MAX_DISTANCE
        )
        self.layers = bert_layers(
            weights, config, act, ("attn.q", "attn.k", "attn.v", "attn.o"), "LayerNorm"
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
        positions = self.position_embeddings(positions_of_tokens(input_ids, PADDING_INDEX))
        x = self.word_embeddings(input_ids) + positions
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), self.hidden_size])))
        length = tf.shape(input_ids)[1]
        if long:
            bias: Bias = long_bias(
                attention_mask, relative=self.relative_attention_bias.for_long_texts(length)
            )
        else:
            bias = self.relative_attention_bias(length) + padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids))
