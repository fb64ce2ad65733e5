"""Llama (H. Touvron et al., 2023), as `transformers.models.llama` 5.24.

Its config is also the base of the decoders that have its layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
)
from tf_exporter.architectures.head_configs import causal_lm, last_token
from tf_exporter.architectures.llama.remote_code import LLAMA_BIDIREC
from tf_exporter.layers.rope import Rope, Temperature
from tf_exporter.layers.rope_keys import read_flat_rope
from tf_exporter.model.config_file import ConfigFile

FARTHEST = 2**31 - 1
"""Upper bound of windows, in tokens."""
THETA = 10_000.0
"""The default base of rotary positions."""
UNUSED = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\.inv_freq")
Masks = tuple[bool, int | None, tuple[str, ...]]
"""Whether attention is causal; the window of sliding layers, or None; the type of each layer."""


@dataclass(frozen=True, kw_only=True)
class LlamaLayersConfig(EncoderConfig):
    """The keys of all decoders that have Llama's layers, with Llama's defaults."""

    default_key_value_heads: ClassVar[int | None] = None
    """The default of num_key_value_heads; None: the number of heads."""
    null_key_value_heads: ClassVar[bool] = True
    """Whether num_key_value_heads may be null."""
    default_head_size: ClassVar[int | None] = None
    """The default of head_dim; None: the hidden size divided by the number of heads."""
    head_size_kinds: ClassVar[tuple[type, ...]] = (int, type(None))
    norms_heads: ClassVar[bool] = False
    norm_offset: ClassVar[float] = 0.0
    """Added to the weights of all norms."""
    scales_embeddings: ClassVar[bool] = False
    """Whether word embeddings are multiplied by the root of their size."""
    fused: ClassVar[bool] = False
    """Whether queries, keys and values share a tensor, and both halves of feed-forward one."""

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    key_value_heads: int
    head_size: int
    causal: bool
    window: int | None
    """The window of sliding layers; None: there are no such layers."""
    layer_types: tuple[str, ...]
    rope: Rope
    temperature: Temperature | None
    """The factors of queries; None: there are none."""

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Whether these have biases: query, key and value; the attention output; feed-forward."""
        return False, False, False

    @property
    def max_length(self) -> int | None:
        return self.rope.max_length

    @property
    def reach(self) -> int | None:
        return None if self.window is None else self.window - self.causal

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        check_activation(file, "hidden_act", keys["hidden_act"])
        heads = keys["num_attention_heads"]
        size = cls._read_head_size(file, keys["hidden_size"], heads)
        causal, window, types = cls._read_masks(file, keys["num_hidden_layers"])
        shared = read_key_value_heads(
            file, heads, cls.default_key_value_heads, cls.null_key_value_heads
        )
        rope, temperature = cls._read_positions(file, keys["max_position_embeddings"], size)
        config = cls(
            **keys,
            key_value_heads=shared,
            head_size=size,
            causal=causal,
            window=window,
            layer_types=types,
            rope=rope,
            temperature=temperature,
        )
        config.check(file)
        return config

    @classmethod
    def _read_head_size(cls, file: ConfigFile, hidden: int, heads: int) -> int:
        size: int | None = file.take("head_dim", cls.head_size_kinds, cls.default_head_size)
        if size is None:
            return check_heads(file, hidden, heads)
        if not 1 <= size <= WIDEST_HEAD:
            file.refuse(file.unsupported("head_dim", f"a number from 1 to {WIDEST_HEAD}"))
        return min(size, WIDEST_HEAD)

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        return file.take("is_causal", bool, True), None, ("full_attention",) * layers

    @classmethod
    def _read_positions(
        cls, file: ConfigFile, positions: int, size: int
    ) -> tuple[Rope, Temperature | None]:
        return read_flat_rope(file, THETA, positions, size), None


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(LlamaLayersConfig):
    """`transformers.LlamaConfig`: the keys that change a token embedding."""

    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        return self.attention_bias, self.attention_bias, self.mlp_bias

    def check(self, file: ConfigFile) -> None:
        # The reference checks it even if head_dim makes it irrelevant.
        check_heads(file, self.hidden_size, self.num_attention_heads)


def read_one_window(file: ConfigFile, layers: int, default: int | None) -> Masks:
    """The masks of a model in which all layers slide, or none if `sliding_window` is null."""
    causal: bool = file.take("is_causal", bool, True)
    window: int | None = file.take("sliding_window", (int, type(None)), default)
    check_window(file, window)
    types = ("full_attention" if window is None else "sliding_attention",) * layers
    # In the reference, all layers have the same mask, whatever this key says.
    file.require("layer_types", (None, list(types)), "num_hidden_layers", "sliding_window")
    return causal, window, types


def check_window(file: ConfigFile, window: int | None) -> None:
    """Refuses a `sliding_window` that is out of range."""
    if window is not None and not 1 <= window <= FARTHEST:
        file.refuse(file.unsupported("sliding_window", "a number of at least 1"))


DECODER = Architecture(
    config=LlamaLayersConfig,
    encoder="tf_exporter.architectures.llama.encoder:Llama",
    prefix="model",
    unused=UNUSED,
    classifier=last_token(None),
    causal_lm=causal_lm,
)
"""The base of the decoders with Llama's layers."""
LLAMA = replace(
    DECODER,
    config=LlamaConfig,
    ignored=frozenset({"pretraining_tp"}),
    remote_code=(LLAMA_BIDIREC,),
)
