"""ModernBERT (B. Warner et al., 2024), as `transformers.models.modernbert` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import (
    EncoderConfig,
    check_activation,
    check_heads,
    read_fields,
    read_layer_types,
)
from tf_exporter.architectures.head_configs import (
    ClassificationConfig,
    MaskedLMConfig,
    Norm,
    is_tied,
    label_count,
)
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import LAYER_TYPES, Rope
from tf_exporter.layers.rope_keys import read_ropes_by_type, shortest
from tf_exporter.model.config_file import ConfigFile

_THETAS = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}
_POOLINGS = ("cls", "mean")


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig(EncoderConfig):
    """`transformers.ModernBertConfig`: the keys that change a token embedding."""

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_attention: int = 128
    layer_types: tuple[str, ...]
    ropes: dict[str, Rope]
    """Rotary positions by layer type."""

    @property
    def max_length(self) -> int | None:
        return shortest(self.ropes.values())

    @property
    def reach(self) -> int | None:
        return self.local_attention // 2

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        heads = keys["num_attention_heads"]
        size = check_heads(file, keys["hidden_size"], heads)
        if size % 2:
            file.refuse(
                UnsupportedError(file.file, "num_attention_heads", heads, "heads of an even size"),
                "hidden_size",
            )
        check_activation(file, "hidden_activation", keys["hidden_activation"])
        return cls(
            **keys,
            layer_types=_read_layer_types(file, keys["num_hidden_layers"]),
            ropes=read_ropes_by_type(
                file, _THETAS, keys["max_position_embeddings"], size, scaled=LAYER_TYPES
            ),
        )


def _read_layer_types(file: ConfigFile, layers: int) -> tuple[str, ...]:
    """The attention of each layer: as listed, or full in every n-th layer."""
    every: int = file.take("global_attn_every_n_layers", int, 3)
    if every < 1:
        file.refuse(file.unsupported("global_attn_every_n_layers", "a number of at least 1"))
    return read_layer_types(file, layers, lambda index: index % max(every, 1) > 0)


def _read_activation(file: ConfigFile) -> str:
    activation: str = file.take("classifier_activation", str, "gelu")
    check_activation(file, "classifier_activation", activation)
    return activation


def _norm(config: ModernBertConfig) -> Norm:
    return Norm(("head.norm",), config.norm_eps, config.norm_bias)


def modernbert_classifier(file: ConfigFile, config: ModernBertConfig) -> ClassificationConfig:
    """The config of the classification head."""
    file.require("classifier_pooling", _POOLINGS)
    return ClassificationConfig(
        labels=label_count(file),
        dense="head.dense",
        activation=_read_activation(file),
        out="classifier",
        dense_bias=file.take("classifier_bias", bool, False),
        norm=_norm(config),
        pooling=file.take("classifier_pooling", str, "cls"),
    )


def modernbert_masked_lm(file: ConfigFile, config: ModernBertConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    return MaskedLMConfig(
        dense="head.dense",
        norm=_norm(config),
        activation=_read_activation(file),
        decoder="decoder",
        bias=None,
        tied=is_tied(file, True),
        dense_bias=file.take("classifier_bias", bool, False),
        decoder_bias=file.take("decoder_bias", bool, True),
    )


MODERNBERT = Architecture(
    config=ModernBertConfig,
    encoder="tf_exporter.architectures.modernbert.encoder:ModernBert",
    prefix="model",
    unused=(r"head\..*", r"decoder\..*", r"classifier\..*"),
    ignored=frozenset(
        """
        initializer_cutoff_factor embedding_dropout mlp_dropout decoder_bias classifier_pooling
        classifier_bias classifier_activation deterministic_flash_attn sparse_prediction
        sparse_pred_ignore_index cls_token_id reference_compile repad_logits_with_grad
        layer_norm_eps
        """.split()
    ),
    classifier=modernbert_classifier,
    masked_lm=modernbert_masked_lm,
)
