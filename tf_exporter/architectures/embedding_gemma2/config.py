"""EmbeddingGemma 2's text encoder (Google, 2026), as in `transformers.models` 5.24."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import (
    WIDEST_HEAD,
    EncoderConfig,
    check_activation,
    read_fields,
    read_layer_types,
)
from tf_exporter.architectures.llama.config import FARTHEST
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import LAYER_TYPES, Rope
from tf_exporter.layers.rope_keys import read_required_ropes, shortest
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

_THETAS = {"full_attention": 1_000_000.0, "sliding_attention": 10_000.0}
"""The bases of rotary positions in a config without `rope_parameters`."""
_PATTERN = 6
_SIZES = ("num_key_value_heads", "head_dim")
_PLACE = "per_layer_config"


@dataclass(frozen=True, kw_only=True)
class EmbeddingGemma2Config(EncoderConfig):
    """`transformers.EmbeddingGemma2TextConfig`: the keys that change a token embedding."""

    vocab_size: int = 262_144
    intermediate_size: int = 2048
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 262_144
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    sliding_window: int = field(default=512, metadata={"least": 0, "most": FARTHEST})
    hidden_size_per_layer_input: int = 512
    embedding_dim: int = 768
    width: int
    """The key `hidden_size`: the width of a token between the layers."""
    layer_types: tuple[str, ...]
    heads: Mapping[str, tuple[int, int]]
    """Layer type → the number of key and value heads, and the size of a head."""
    ropes: dict[str, Rope]
    """Rotary positions by layer type."""

    @property
    def hidden_size(self) -> int:
        return self.embedding_dim

    @property
    def max_length(self) -> int | None:
        return shortest(self.ropes.values())

    @property
    def reach(self) -> int | None:
        return self.sliding_window // 2

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        check_activation(file, "hidden_activation", keys["hidden_activation"])
        # True would make the reference causal, but only in batches without padding.
        file.require("is_causal", (False,))
        width: int = file.take("hidden_size", int, 512)
        if width < 1:
            file.refuse(file.unsupported("hidden_size", "a number of at least 1"))
        # The last hidden state is a projection: modules that join all states cannot have meant it.
        file.require("output_hidden_states", (False,))
        types = _read_layer_types(file, keys["num_hidden_layers"])
        heads = _read_heads(file, types, keys["num_attention_heads"])
        return cls(
            **keys,
            width=width,
            layer_types=types,
            heads=heads,
            ropes=read_required_ropes(
                file,
                _THETAS,
                keys["max_position_embeddings"],
                {name: heads[name][1] for name in LAYER_TYPES if name in types},
            ),
        )


def _read_layer_types(file: ConfigFile, layers: int) -> tuple[str, ...]:
    """The attention of each layer. The reference makes the last one full, whatever is listed."""
    every: int = file.take("sliding_window_pattern", int, _PATTERN)
    if every < 1:
        file.refuse(file.unsupported("sliding_window_pattern", "a number of at least 1"))
    types = read_layer_types(file, layers, lambda index: (index + 1) % max(every, 1) > 0)
    return (*types[:-1], LAYER_TYPES[0])


def _read_heads(
    file: ConfigFile, types: tuple[str, ...], query_heads: int
) -> dict[str, tuple[int, int]]:
    """Layer type → the number of key and value heads, and the size of a head."""
    whole = {key: file.take(key, int, default) for key, default in zip(_SIZES, (2, 256))}
    wide = {
        "num_key_value_heads": file.take("num_global_key_value_heads", int, 1),
        "head_dim": file.take("global_head_dim", int, 512),
    }
    by_layer: list[dict[str, Json]] = [{} for _ in types]
    if _PLACE not in file:
        by_layer = [wide if name == LAYER_TYPES[0] else {} for name in types]
    else:
        with file.refusing("num_hidden_layers"):
            by_layer = _layers(file, file.take(_PLACE, dict), len(types))
    heads = {}
    for name in LAYER_TYPES:
        sizes = [{**whole, **own} for own, kind in zip(by_layer, types) if kind == name] or [whole]
        if any(other != sizes[0] for other in sizes):
            file.refuse(file.unsupported(_PLACE, f"the same values for all layers with {name}"))
        shared, size = (_checked(file, key, sizes[0][key], query_heads) for key in _SIZES)
        heads[name] = shared, size
    return heads


def _layers(file: ConfigFile, listed: dict[str, Any], layers: int) -> list[dict[str, Json]]:
    """The values that each layer has of its own, by the layer's index."""
    result: list[dict[str, Json]] = [{} for _ in range(layers)]
    for index, values in listed.items():
        if not index.isdecimal() or int(index) >= layers or not isinstance(values, dict):
            raise file.unsupported(_PLACE, f"objects for layers 0 to {layers - 1}")
        for key, value in values.items():
            if key not in _SIZES:
                place = f"{_PLACE}.{index}.{key}"
                raise UnsupportedError(file.file, place, value, _SIZES)
        result[int(index)] = values
    return result


def _checked(file: ConfigFile, key: str, value: Json, query_heads: int) -> int:
    """The size of a head or the number of key and value heads; 1 or 2 if it is refused."""
    if key == "head_dim":
        good, supported = f"a number from 1 to {WIDEST_HEAD}", 2
        fits = type(value) is int and 1 <= value <= WIDEST_HEAD
    else:
        good, supported = f"a divisor of the {query_heads} heads", 1
        fits = type(value) is int and value >= 1 and query_heads % value == 0
    if fits:
        return int(value)
    file.refuse(UnsupportedError(file.file, key, value, good), "num_attention_heads")
    return supported


EMBEDDING_GEMMA2 = Architecture(
    config=EmbeddingGemma2Config,
    encoder="tf_exporter.architectures.embedding_gemma2.encoder:EmbeddingGemma2",
    prefix="model",
    unused=(r"(.*\.)?rotary_emb\..*inv_freq",),
    ignored=frozenset({_PLACE}),
)
