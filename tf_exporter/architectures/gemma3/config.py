"""Gemma 3's text encoder (Gemma team, 2025), as `transformers.models.gemma3` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import (
    WIDEST_HEAD,
    EncoderConfig,
    check_activation,
    check_heads,
    read_fields,
    read_key_value_heads,
    read_layer_types,
)
from tf_exporter.architectures.head_configs import CausalLMConfig, is_tied, last_token
from tf_exporter.layers.rope import Rope
from tf_exporter.layers.rope_keys import read_ropes_by_type, shortest
from tf_exporter.model.config_file import ConfigFile

_FARTHEST = 2**31 - 1
_PATTERN = 6
_THETAS = {
    "full_attention": ("rope_theta", 1_000_000.0),
    "sliding_attention": ("rope_local_base_freq", 10_000.0),
}


UNUSED = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\..*inv_freq")


@dataclass(frozen=True, kw_only=True)
class GemmaLayersConfig(EncoderConfig):
    """The keys that Gemma 2 and Gemma 3 share, with Gemma 3's defaults."""

    norms_heads: ClassVar[bool] = True
    """Whether queries and keys are normed."""

    vocab_size: int = 262_208
    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    head_dim: int = field(default=256, metadata={"most": WIDEST_HEAD})
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    query_pre_attn_scalar: int = 256
    key_value_heads: int
    causal: bool
    window: int
    """The window of sliding layers, for `layers.attention.biases_by_type`."""
    layer_types: tuple[str, ...]
    ropes: dict[str, Rope]
    """Rotary positions by layer type."""
    softcap: float | None
    """The bound of attention scores; None: there is none."""

    @property
    def max_length(self) -> int | None:
        return shortest(self.ropes.values())


@dataclass(frozen=True, kw_only=True)
class Gemma3Config(GemmaLayersConfig):
    """`transformers.Gemma3TextConfig`: the keys that change a token embedding."""

    @property
    def reach(self) -> int | None:
        return self.window - self.causal

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        file.require("partial_rotary_factor", (1.0, 1))
        check_activation(file, "hidden_activation", keys["hidden_activation"])
        heads, positions, size = (
            keys["num_attention_heads"],
            keys["max_position_embeddings"],
            keys["head_dim"],
        )
        check_heads(file, keys["hidden_size"], heads)
        causal, window = _read_masks(file)
        return cls(
            **keys,
            key_value_heads=read_key_value_heads(file, heads, 4),
            causal=causal,
            window=window,
            layer_types=_read_layer_types(file, keys["num_hidden_layers"]),
            ropes=read_ropes_by_type(file, _THETAS, positions, size, scaled=("full_attention",)),
            softcap=None,
        )


def _read_layer_types(file: ConfigFile, layers: int) -> tuple[str, ...]:
    """The attention of each layer: as listed, or full in every n-th layer."""
    every: int = file.take("sliding_window_pattern", int, _PATTERN)
    if every < 1:
        file.refuse(file.unsupported("sliding_window_pattern", "a number of at least 1"))
    if file.values.get("layer_types") is None:
        # The reference saves this key, but does not read it.
        file.require("_sliding_window_pattern", (every,), "sliding_window_pattern")
    return read_layer_types(file, layers, lambda index: (index + 1) % max(every, 1) > 0)


def _read_masks(file: ConfigFile) -> tuple[bool, int]:
    """Whether attention is causal, and the window of sliding layers, for `biases_by_type`."""
    both_sides = file.take("use_bidirectional_attention", (bool, type(None)), False)
    causal = file.take("is_causal", bool, True)
    window: int = file.take("sliding_window", int, 4096)
    least = 0 if both_sides else 1
    if not least <= window <= _FARTHEST:
        file.refuse(file.unsupported("sliding_window", f"a number of at least {least}"))
    if not both_sides:
        return causal, window
    # The reference's limit is window // 2 + 1. It is inclusive only if `is_causal` is false.
    return False, window // 2 + (not causal)


def read_softcap(file: ConfigFile, key: str, default: float | None) -> float | None:
    """The bound of logits or scores; None: there is none."""
    softcap: float | None = file.take(key, (float, type(None)), default)
    if softcap is not None and not softcap > 0:
        file.refuse(file.unsupported(key, "a positive number, or null"))
    return softcap


def capped_causal_lm(file: ConfigFile, default: float | None) -> CausalLMConfig:
    """The config of a causal language model head; `default` bounds its logits."""
    return CausalLMConfig(
        is_tied(file, True), read_softcap(file, "final_logit_softcapping", default)
    )


def gemma3_causal_lm(file: ConfigFile, config: Gemma3Config) -> CausalLMConfig:
    """The config of the causal language model head."""
    return capped_causal_lm(file, None)


GEMMA3 = Architecture(
    config=Gemma3Config,
    encoder="tf_exporter.architectures.gemma3.encoder:Gemma3",
    prefix="model",
    unused=UNUSED,
    ignored=frozenset(
        (
            "final_logit_softcapping",
            "cache_implementation",
            "_sliding_window_pattern",
            # The reference reads it, but does not use it in attention.
            "attn_logit_softcapping",
        )
    ),
    classifier=last_token(0),
    causal_lm=gemma3_causal_lm,
)
