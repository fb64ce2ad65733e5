"""Layers of Llama (H. Touvron et al., 2023), for Qwen2, Qwen3 and EuroBERT of transformers 5.24."""

from __future__ import annotations

from dataclasses import dataclass
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
from tf_exporter.architectures.head_configs import causal_lm, last_token
from tf_exporter.layers.rope import Rope, read_flat_rope
from tf_exporter.model.config_file import ConfigFile

_FARTHEST = 2**31 - 1
_THETA = 10_000.0
"""The default base of rotary positions."""
UNUSED = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\.inv_freq")


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(EncoderConfig):
    """The keys that these models share, with Qwen's defaults."""

    decodes: ClassVar[bool] = True
    """Whether the model is a decoder: causal by default, with optional sliding windows."""
    default_key_value_heads: ClassVar[int | None] = 32
    """The default of num_key_value_heads; None: the number of heads."""
    default_head_size: ClassVar[int | None] = None
    """The default of head_dim; None: the hidden size divided by the number of heads."""
    head_size_kinds: ClassVar[tuple[type, ...]] = (int,)
    norms_heads: ClassVar[bool] = False

    vocab_size: int = 151936
    hidden_size: int = 4096
    intermediate_size: int = 22016
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    rms_norm_eps: float = 1e-6
    key_value_heads: int
    head_size: int
    causal: bool
    window: int | None
    """The window of sliding layers; None: there are no such layers."""
    layer_types: tuple[str, ...]
    rope: Rope

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Whether these have biases: query, key and value; the attention output; feed-forward."""
        raise NotImplementedError

    @property
    def max_length(self) -> int | None:
        return self.rope.max_length

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        check_activation(file, "hidden_act", keys["hidden_act"])
        heads, layers = keys["num_attention_heads"], keys["num_hidden_layers"]
        size = cls._read_head_size(file, keys["hidden_size"], heads)
        causal, window, types = (
            cls._read_masks(file, layers) if cls.decodes else _read_no_masks(file, layers)
        )
        return cls(
            **keys,
            key_value_heads=read_key_value_heads(file, heads, cls.default_key_value_heads),
            head_size=size,
            causal=causal,
            window=window,
            layer_types=types,
            rope=read_flat_rope(file, _THETA, keys["max_position_embeddings"], size),
        )

    @classmethod
    def _read_head_size(cls, file: ConfigFile, hidden: int, heads: int) -> int:
        size: int | None = file.take("head_dim", cls.head_size_kinds, cls.default_head_size)
        if size is None:
            return check_heads(file, hidden, heads)
        if not 1 <= size <= WIDEST_HEAD:
            file.refuse(file.unsupported("head_dim", f"a number from 1 to {WIDEST_HEAD}"))
        return min(size, WIDEST_HEAD)

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> tuple[bool, int | None, tuple[str, ...]]:
        """Whether attention is causal, the window of sliding layers, and the type of each layer."""
        causal = file.take("is_causal", bool, True)
        window = file.take("sliding_window", (int, type(None)), 4096)
        window = window if file.take("use_sliding_window", bool, False) else None
        first = file.take("max_window_layers", int, 28)
        types = read_layer_types(file, layers, lambda index: window is not None and index >= first)
        if window is not None and not 1 <= window <= _FARTHEST:
            file.refuse(file.unsupported("sliding_window", "a number of at least 1"))
        if window is None and "sliding_attention" in types:
            file.refuse(
                file.unsupported(
                    "layer_types", "full_attention only, because there is no sliding window"
                )
            )
        return causal, window, types


def _read_no_masks(file: ConfigFile, layers: int) -> tuple[bool, int | None, tuple[str, ...]]:
    # True would make the reference causal, but only in batches without padding.
    file.require("is_causal", (False,))
    return False, None, ("full_attention",) * layers


LLAMA = Architecture(
    config=LlamaConfig,
    encoder="tf_exporter.architectures.llama.encoder:Llama",
    prefix="model",
    unused=UNUSED,
    classifier=last_token(None),
    causal_lm=causal_lm,
)
"""The base of the decoders."""
