"""ALBERT (Z. Lan et al., 2019), as `transformers.models.albert` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.bert.config import UNUSED, BertConfig
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class AlbertConfig(BertConfig):
    """`transformers.AlbertConfig`: the keys that change a token embedding."""

    vocab_size: int = 30000
    hidden_size: int = 4096
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    embedding_size: int = 128
    num_hidden_groups: int = 1
    inner_group_num: int = 1


def albert_masked_lm(file: ConfigFile, config: AlbertConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    return MaskedLMConfig(
        dense="predictions.dense",
        norm=Norm(("predictions.LayerNorm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder="predictions.decoder",
        bias="predictions.bias",
        tied=is_tied(file, True),
    )


ALBERT = Architecture(
    config=AlbertConfig,
    encoder="tf_exporter.architectures.albert.encoder:Albert",
    prefix="albert",
    dropout=Dropout(default=0.0),
    pooler="pooler",
    unused=(*UNUSED, r"predictions\..*", r"sop_classifier\..*"),
    classifier=classifier("pooler", "tanh", "classifier"),
    masked_lm=albert_masked_lm,
)
