"""DistilBERT (V. Sanh et al., 2019), as `transformers.models.distilbert` 5.23: BERT's layers, no segments."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, padding_bias, through_layers
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.config import activation, check_heads, read_config
from tf_exporter.encoders.training import dropped
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_EPS = 1e-12
"""Fixed in the reference."""


@dataclass(frozen=True)
class DistilBertConfig:
    """`transformers.DistilBertConfig`: the keys that change a token embedding."""

    vocab_size: int = 30522
    dim: int = 768
    n_layers: int = 6
    n_heads: int = 12
    hidden_dim: int = 4 * 768
    activation: str = "gelu"
    max_position_embeddings: int = 512


_ALIASES = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}


class DistilBert(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = DistilBertConfig
    prefix = "distilbert"
    collects_layers = True
    unused = (
        r"(.*\.)?embeddings\.position_ids",
        r"vocab_(transform|layer_norm|projector)\..*",
        r"(pre_)?classifier\..*",
        r"qa_outputs\..*",
    )

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        self.config = config = read_config(file, self.config_class, _ALIASES)
        check_heads(file, "n_heads", config.dim, config.n_heads)
        act = activation(file, "activation", config.activation)
        self.hidden_size, self.vocab_size, self.type_vocab_size = config.dim, config.vocab_size, 0
        self.max_length = self.max_position_embeddings = config.max_position_embeddings
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, config.dim)
        self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", self.max_length, config.dim)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", config.dim, _EPS)
        self.layers = []
        for index in range(config.n_layers):
            at = f"transformer.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    SelfAttention(weights, f"{at}.attention", ("q_lin", "k_lin", "v_lin", "out_lin"), config.dim, config.n_heads),
                    LayerNorm(weights, f"{at}.sa_layer_norm", config.dim, _EPS),
                    FeedForward(weights, (f"{at}.ffn.lin1",), f"{at}.ffn.lin2", config.dim, config.hidden_dim, act),
                    LayerNorm(weights, f"{at}.output_layer_norm", config.dim, _EPS),
                )
            )

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`."""
        return True

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
        x = self.word_embeddings(input_ids) + self.position_embeddings.first(tf.shape(input_ids)[1])
        x = dropped(self.embeddings_norm(tf.reshape(x, [tf.size(input_ids), self.hidden_size])))
        return through_layers(self.layers, x, padding_bias(attention_mask), tf.shape(input_ids), inputs)
