"""NomicBERT (Z. Nussbaum et al., 2024), as `transformers.models.nomic_bert` 5.23: rotary positions, gated, without biases."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert import bert_classifier
from tf_exporter.architectures.heads import MaskedLMConfig, Norm, is_tied
from tf_exporter.architectures.rotary_bert import UNUSED, RotaryBertConfig
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class NomicBertConfig(RotaryBertConfig):
    """`transformers.NomicBertConfig`: the keys that change a token embedding."""

    theta = 1000.0

    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2


def _masked_lm(file: ConfigFile, config: NomicBertConfig) -> MaskedLMConfig:
    at = "cls.predictions"
    return MaskedLMConfig(
        dense=f"{at}.transform.dense",
        norm=Norm((f"{at}.transform.layer_norm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder=f"{at}.decoder",
        bias=f"{at}.bias",
        tied=is_tied(file, True),
        # The published code has none; transformers then makes them zeros.
        biases_may_lack=True,
    )


NOMIC_BERT = Architecture(
    config=NomicBertConfig,
    prefix="nomic_bert",
    unused=UNUSED,
    classifier=bert_classifier,
    masked_lm=_masked_lm,
)
