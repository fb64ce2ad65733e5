"""T5 (C. Raffel et al., 2019), mT5 and umT5, as in transformers 5.24: encoders only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import EncoderConfig, check_activation
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

_FARTHEST = 2**20
"""Upper bound of distances: the table of buckets has two entries for each distance."""


@dataclass(frozen=True)
class T5Config(EncoderConfig):
    """`transformers.T5Config`: the keys that change a token embedding."""

    aliases = MappingProxyType(
        {
            "hidden_size": "d_model",
            "num_attention_heads": "num_heads",
            "num_hidden_layers": "num_layers",
            "head_dim": "d_kv",
        }
    )

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

    @property
    def hidden_size(self) -> int:
        return self.d_model

    @property
    def gated(self) -> bool:
        """Whether the feed-forward block is gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """The activation of the feed-forward block."""
        plain = self.feed_forward_proj.removeprefix("gated-")
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else plain

    def check(self, file: ConfigFile) -> None:
        check_activation(file, "feed_forward_proj", self.activation)
        # transformers derives these keys from feed_forward_proj and saves them.
        file.require("is_gated_act", (self.gated,), "feed_forward_proj")
        file.require("dense_act_fn", (self.activation,), "feed_forward_proj")
        buckets, farthest = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        )
        if buckets < 4 or farthest <= buckets // 4:
            supported = "4 or more, below 4 · relative_attention_max_distance"
            error = UnsupportedError(
                file.file, "relative_attention_num_buckets", buckets, supported
            )
            file.refuse(error, "relative_attention_max_distance")


@dataclass(frozen=True)
class MT5Config(T5Config):
    """`transformers.MT5Config` and `UMT5Config`: the keys that change a token embedding."""

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"


T5 = Architecture(
    config=T5Config,
    encoder="tf_exporter.architectures.t5.encoder:T5",
    prefix="transformer",
    unused=(
        r"decoder\..*",
        r"lm_head\..*",
        r"(shared|decoder\.embed_tokens)\.weight",
        r"classif(ier|ication_head)\..*",
    ),
    # Only the encoder is loaded, whatever `is_encoder_decoder` says.
    ignored=frozenset(
        """
        num_decoder_layers dropout_rate initializer_factor n_positions scale_decoder_outputs
        is_encoder_decoder
        """.split()
    ),
)

MT5 = replace(T5, config=MT5Config)
UMT5 = replace(MT5, encoder="tf_exporter.architectures.t5.encoder:UMT5")
