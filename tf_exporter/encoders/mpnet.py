"""MPNet (K. Song et al., 2020), as `transformers.models.mpnet` 5.23: BERT's layers with shared relative positions."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import RelativeBias, padding_bias, positions_of_tokens, through_layers
from tf_exporter.encoders.bert import LayersConfig, bert_layers
from tf_exporter.encoders.blocks import Embedding, LayerNorm
from tf_exporter.encoders.config import activation, check_heads, read_config
from tf_exporter.encoders.training import dropped
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_PADDING_INDEX = 1
"""Fixed in the reference, whatever the config's pad_token_id: tokens of this id have position 1, the rest 2, 3, …"""
_BUCKETS = 32
_MAX_DISTANCE = 128


@dataclass(frozen=True)
class MPNetConfig(LayersConfig):
    """`transformers.MPNetConfig`: the keys that change a token embedding."""

    vocab_size: int = 30527
    relative_attention_num_buckets: int = 32


class MPNet(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = MPNetConfig
    prefix = "mpnet"
    collects_layers = True
    unused = (r"(.*\.)?embeddings\.position_ids", r"pooler\..*", r"lm_head\..*", r"classifier\..*", r"qa_outputs\..*")

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        self.config = config = read_config(file, self.config_class)
        hidden, eps, heads = config.hidden_size, config.layer_norm_eps, config.num_attention_heads
        check_heads(file, "num_attention_heads", hidden, heads)
        if config.relative_attention_num_buckets < _BUCKETS:
            # The reference computes 32 buckets whatever the config says.
            key = "relative_attention_num_buckets"
            raise UnsupportedError(file.file, key, config.relative_attention_num_buckets, f"{_BUCKETS} or more")
        act = activation(file, "hidden_act", config.hidden_act)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, 0
        positions = self.max_position_embeddings = config.max_position_embeddings
        self.max_length = positions - _PADDING_INDEX - 1
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, hidden)
        self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", positions, hidden)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", hidden, eps)
        name, rows = "encoder.relative_attention_bias", config.relative_attention_num_buckets
        self.relative_attention_bias = RelativeBias(weights, name, rows, heads, _BUCKETS, _MAX_DISTANCE)
        self.layers = bert_layers(weights, config, act, ("attn.q", "attn.k", "attn.v", "attn.o"), "LayerNorm")

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`."""
        return pad_id != _PADDING_INDEX

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        inputs: list[tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size].

        `inputs`: gets those of the layers, float32 [batch · length, hidden_size] each.
        """
        positions = self.position_embeddings(positions_of_tokens(input_ids, _PADDING_INDEX))
        x = self.word_embeddings(input_ids) + positions
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), self.hidden_size])))
        bias = self.relative_attention_bias(tf.shape(input_ids)[1]) + padding_bias(attention_mask)
        return through_layers(self.layers, x, bias, tf.shape(input_ids), inputs)
