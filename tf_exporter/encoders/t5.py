"""T5 (C. Raffel et al., 2019), mT5 and umT5, as in transformers 5.23: the encoder of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import tensorflow as tf

from tf_exporter.activations import Activation
from tf_exporter.encoders.attention import PreNormLayer, RelativeBias, SelfAttention, padding_bias
from tf_exporter.encoders.blocks import Embedding, FeedForward, RMSNorm
from tf_exporter.encoders.config import activation, read_config
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_ALIASES = {"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers", "head_dim": "d_kv"}
_FARTHEST = 2**20
"""A table has two entries for each distance up to it."""
_UNUSED_KEYS = frozenset(
    "num_decoder_layers dropout_rate initializer_factor n_positions scale_decoder_outputs is_encoder_decoder".split()
)
"""The encoder alone is loaded, whatever `is_encoder_decoder` says."""


@dataclass(frozen=True)
class T5Config:
    """`transformers.T5Config`: the keys that change a token embedding."""

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = field(default=128, metadata={"most": _FARTHEST})
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"


@dataclass(frozen=True)
class MT5Config(T5Config):
    """`transformers.MT5Config`, and `UMT5Config`: the keys that change a token embedding."""

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"


class T5(tf.Module):
    """Token ids → token embeddings [batch, length, d_model]."""

    config_class: type[T5Config] = T5Config
    prefix = "transformer"
    unused = (r"decoder\..*", r"lm_head\..*", r"(encoder|decoder)\.embed_tokens\.weight", r"classif(ier|ication_head)\..*")
    bias_in_every_layer = False

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        gated, act = self._read_activation(file)
        config = read_config(file, self.config_class, _ALIASES, _UNUSED_KEYS)
        features, eps = config.d_model, config.layer_norm_epsilon
        buckets, farthest = config.relative_attention_num_buckets, config.relative_attention_max_distance
        if buckets < 4 or farthest <= buckets // 4:
            key = "relative_attention_num_buckets"
            raise UnsupportedError(file.file, key, buckets, "4 or more, below 4 · relative_attention_max_distance")
        self.hidden_size, self.vocab_size, self.type_vocab_size = features, config.vocab_size, 0
        self.max_length = self.max_position_embeddings = None
        name = "shared" if "shared.weight" in weights else "encoder.embed_tokens"
        self.shared = Embedding(weights, name, config.vocab_size, features)
        self.biases, self.layers = [], []
        for index in range(config.num_layers):
            at = f"encoder.block.{index}.layer"
            if index == 0 or self.bias_in_every_layer:
                name = f"{at}.0.SelfAttention.relative_attention_bias"
                self.biases.append(RelativeBias(weights, name, buckets, config.num_heads, buckets, farthest))
            dense = f"{at}.1.DenseReluDense"
            up = (f"{dense}.wi_0", f"{dense}.wi_1") if gated else (f"{dense}.wi",)
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{at}.0.layer_norm", features, eps),
                    SelfAttention(
                        weights,
                        f"{at}.0.SelfAttention",
                        ("q", "k", "v", "o"),
                        features,
                        config.num_heads,
                        size=config.d_kv,
                        scale=1.0,
                        bias=False,
                    ),
                    RMSNorm(weights, f"{at}.1.layer_norm", features, eps),
                    FeedForward(weights, up, f"{dense}.wo", features, config.d_ff, act, gated=gated, bias=False),
                )
            )
        self.final_layer_norm = RMSNorm(weights, "encoder.final_layer_norm", features, eps)

    def _read_activation(self, file: ConfigFile) -> tuple[bool, Activation]:
        """Whether the feed-forward part is gated, and its activation."""
        name = file.take("feed_forward_proj", str, self.config_class.feed_forward_proj)
        gated, plain = name.startswith("gated-"), name.removeprefix("gated-")
        function = "gelu_new" if name == "gated-gelu" else plain
        # What transformers derives and saves beside it.
        file.require("is_gated_act", (gated,))
        file.require("dense_act_fn", (function,))
        return gated, activation(file, "feed_forward_proj", function)

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`: distances are the same wherever padding is."""
        return False

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, d_model]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.shared(input_ids), [batch * length, self.hidden_size])
        mask = padding_bias(attention_mask)
        biases = [bias(length) + mask for bias in self.biases]
        for index, layer in enumerate(self.layers):
            x = layer(x, biases[index if self.bias_in_every_layer else 0], batch, length)
        return tf.reshape(self.final_layer_norm(x), [batch, length, self.hidden_size])


class MT5(T5):
    """The same, with other defaults in its config."""

    config_class = MT5Config


class UMT5(MT5):
    """The same, with biases of its own in every layer."""

    bias_in_every_layer = True
