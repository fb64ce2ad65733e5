"""NomicBERT (Z. Nussbaum et al., 2024), as `transformers.models.nomic_bert` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import bert_classifier
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, is_tied
from tf_exporter.architectures.nomic_bert.remote_code import NOMIC
from tf_exporter.architectures.rotary_bert.config import UNUSED, RotaryBertConfig
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class NomicBertConfig(RotaryBertConfig):
    """`transformers.NomicBertConfig`: the keys that change a token embedding."""

    theta = 1000.0

    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2


def nomic_bert_masked_lm(file: ConfigFile, config: NomicBertConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    prefix = "cls.predictions"
    return MaskedLMConfig(
        dense=f"{prefix}.transform.dense",
        norm=Norm((f"{prefix}.transform.layer_norm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder=f"{prefix}.decoder",
        bias=f"{prefix}.bias",
        tied=is_tied(file, True),
        # The published code has no biases; transformers uses zeros then.
        biases_may_lack=True,
    )


NOMIC_BERT = Architecture(
    config=NomicBertConfig,
    encoder="tf_exporter.architectures.nomic_bert.encoder:NomicBert",
    prefix="nomic_bert",
    adapters=False,
    remote_code=(NOMIC,),
    unused=UNUSED,
    classifier=bert_classifier,
    masked_lm=nomic_bert_masked_lm,
)
