"""ALBERT (Z. Lan et al., 2019), as `transformers.models.albert` 5.23: BERT with narrower embeddings and shared layers."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert import UNUSED, BertConfig
from tf_exporter.architectures.heads import MaskedLMConfig, Norm, classifier, is_tied
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


def _masked_lm(file: ConfigFile, config: AlbertConfig) -> MaskedLMConfig:
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
    prefix="albert",
    unused=(*UNUSED, r"predictions\..*", r"sop_classifier\..*"),
    collects_layers=True,
    classifier=classifier("pooler", "tanh", "classifier"),
    masked_lm=_masked_lm,
)
