"""The layout of Llama (H. Touvron et al., 2023), which Qwen2, Qwen3 and EuroBERT have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.config import (
    WIDEST_HEAD,
    EncoderConfig,
    check_activation,
    check_heads,
    read_fields,
    read_key_value_heads,
    read_layer_types,
)
from tf_exporter.architectures.heads import causal_lm, last_token
from tf_exporter.architectures.rope import Rope, read_flat_rope
from tf_exporter.model.config_file import ConfigFile

if TYPE_CHECKING:
    from typing_extensions import Self

_FARTHEST = 2**31 - 1
_THETA = 10_000.0
"""Where the config has no other."""
UNUSED = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\.inv_freq")


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(EncoderConfig):
    """What every such config has, with Qwen's defaults."""

    decodes: ClassVar[bool] = True
    """Whether tokens see only themselves and what is before them, if the config says no other; so do layers have windows."""
    default_key_value_heads: ClassVar[int | None] = 32
    """Where the config has no such key; None: as many as heads."""
    default_head_size: ClassVar[int | None] = None
    """Where the config has no such key; None: the hidden size is divided among the heads."""
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
    """Of the layers that have one, if there are any."""
    layer_types: tuple[str, ...]
    rope: Rope

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Whether query, key and value have one; the output of attention; the feed-forward part."""
        raise NotImplementedError

    @property
    def max_length(self) -> int | None:
        """Tokens that a text may have; None: any number."""
        return self.rope.max_length

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        """The config of a model, as `EncoderConfig.read`."""
        keys = read_fields(file, cls)
        check_activation(file, "hidden_act", keys["hidden_act"])
        heads, layers = keys["num_attention_heads"], keys["num_hidden_layers"]
        size = cls._read_head_size(file, keys["hidden_size"], heads)
        causal, window, types = cls._read_masks(file, layers) if cls.decodes else _read_no_masks(file, layers)
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
            file.refuse(file.unsupported("head_dim", f"a number of 1 to {WIDEST_HEAD}"))
        return min(size, WIDEST_HEAD)

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> tuple[bool, int | None, tuple[str, ...]]:
        """Whether layers are causal, their window, and the type of each."""
        causal = file.take("is_causal", bool, True)
        window = file.take("sliding_window", (int, type(None)), 4096)
        window = window if file.take("use_sliding_window", bool, False) else None
        first = file.take("max_window_layers", int, 28)
        types = read_layer_types(file, layers, lambda index: window is not None and index >= first)
        if window is not None and not 1 <= window <= _FARTHEST:
            file.refuse(file.unsupported("sliding_window", "a number of at least 1"))
        if window is None and "sliding_attention" in types:
            file.refuse(file.unsupported("layer_types", "full_attention alone, where use_sliding_window gives no window"))
        return causal, window, types


def _read_no_masks(file: ConfigFile, layers: int) -> tuple[bool, int | None, tuple[str, ...]]:
    # True would make the reference causal in batches without padding, and only there.
    file.require("is_causal", (False,))
    return False, None, ("full_attention",) * layers


LLAMA = Architecture(
    config=LlamaConfig,
    prefix="model",
    unused=UNUSED,
    classifier=last_token(None),
    causal_lm=causal_lm,
)
"""What the decoders have in common."""
