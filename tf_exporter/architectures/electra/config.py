"""ELECTRA (K. Clark et al., 2020), as `transformers.models.electra` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.bert.config import UNUSED, BertConfig, LayersConfig
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class ElectraConfig(BertConfig):
    """`transformers.ElectraConfig`: the keys that change a token embedding."""

    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    embedding_size: int = 128


def electra_masked_lm(file: ConfigFile, config: LayersConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    prefix = "generator_predictions"
    return MaskedLMConfig(
        dense=f"{prefix}.dense",
        norm=Norm((f"{prefix}.LayerNorm",), config.layer_norm_eps),
        activation="gelu",
        decoder="generator_lm_head",
        bias=None,
        tied=is_tied(file, True),
    )


ELECTRA = Architecture(
    config=ElectraConfig,
    encoder="tf_exporter.architectures.electra.encoder:Electra",
    prefix="electra",
    dropout=Dropout(),
    unused=(
        *UNUSED,
        r"discriminator_predictions\..*",
        r"generator_predictions\..*",
        r"generator_lm_head\..*",
    ),
    classifier=classifier("classifier.dense", "gelu", "classifier.out_proj"),
    masked_lm=electra_masked_lm,
)
