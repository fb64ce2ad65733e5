"""Gemma 2 (Gemma team, 2024), as `transformers.models.gemma2` 5.24.

Gemma 3's layers without norms of queries and keys, but with bounded attention scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import (
    check_activation,
    check_heads,
    read_fields,
    read_key_value_heads,
    read_layer_types,
)
from tf_exporter.architectures.gemma.config import read_causal
from tf_exporter.architectures.gemma3.config import (
    UNUSED,
    GemmaLayersConfig,
    capped_causal_lm,
    read_softcap,
)
from tf_exporter.architectures.head_configs import CausalLMConfig, last_token
from tf_exporter.architectures.llama.config import THETA, check_window
from tf_exporter.layers.rope import LAYER_TYPES
from tf_exporter.layers.rope_keys import read_flat_rope
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class Gemma2Config(GemmaLayersConfig):
    """`transformers.Gemma2Config`: the keys that change a token embedding."""

    norms_heads: ClassVar[bool] = False

    vocab_size: int = 256_000
    max_position_embeddings: int = 8192

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        check_activation(file, "hidden_activation", keys["hidden_activation"])
        heads, size = keys["num_attention_heads"], keys["head_dim"]
        check_heads(file, keys["hidden_size"], heads)
        # The reference makes a mask with the window even if no layer slides.
        window: int = file.take("sliding_window", int, 4096)
        check_window(file, window)
        layers = keys["num_hidden_layers"]
        rope = read_flat_rope(file, THETA, keys["max_position_embeddings"], size)
        return cls(
            **keys,
            key_value_heads=read_key_value_heads(file, heads, 4, nullable=False),
            causal=read_causal(file),
            window=window,
            layer_types=read_layer_types(file, layers, lambda index: index % 2 == 0),
            ropes=dict.fromkeys(LAYER_TYPES, rope),
            softcap=read_softcap(file, "attn_logit_softcapping", 50.0),
        )


def gemma2_causal_lm(file: ConfigFile, config: Gemma2Config) -> CausalLMConfig:
    """The config of the causal language model head."""
    return capped_causal_lm(file, 30.0)


GEMMA2 = Architecture(
    config=Gemma2Config,
    encoder="tf_exporter.architectures.gemma3.encoder:Gemma3",
    prefix="model",
    unused=UNUSED,
    ignored=frozenset({"final_logit_softcapping", "cache_implementation"}),
    classifier=last_token(0),
    causal_lm=gemma2_causal_lm,
)
