"""BERT (J. Devlin et al., 2018), as `transformers.models.bert` 5.24: the base of many encoders."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.encoder_config import EncoderConfig, check_activation, check_heads
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.model.config_file import ConfigFile

UNUSED = (
    r"(.*\.)?embeddings\.position_ids",
    r"(.*\.)?embeddings\.token_type_ids",
    r"pooler\..*",
    r"cls\..*",
    r"classifier\..*",
    r"qa_outputs\..*",
)
"""Patterns for tensors of heads and buffers."""
ONLY_CHECKED = frozenset({"embedding_size"})
"""Keys that BERT and similar models read only to skip a check."""


@dataclass(frozen=True)
class LayersConfig(EncoderConfig):
    """The keys of BERT's layers, which many architectures share."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512

    def check(self, file: ConfigFile) -> None:
        check_heads(file, self.hidden_size, self.num_attention_heads)
        check_activation(file, "hidden_act", self.hidden_act)

    @property
    def max_length(self) -> int | None:
        return self.max_position_embeddings

    @property
    def fails_beyond(self) -> bool:
        return True

    def counts_padding(self, pad_id: int) -> bool:
        return True


@dataclass(frozen=True)
class BertConfig(LayersConfig):
    """`transformers.BertConfig`: the keys that change a token embedding."""

    vocab_size: int = 30522
    type_vocab_size: int = 2


def bert_masked_lm(
    file: ConfigFile, config: LayersConfig, rest: str | None = None
) -> MaskedLMConfig:
    """The config of `BertForMaskedLM`; `rest`: the field of `MaskedLMConfig`."""
    prefix = "cls.predictions"
    return MaskedLMConfig(
        dense=f"{prefix}.transform.dense",
        norm=Norm((f"{prefix}.transform.LayerNorm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder=f"{prefix}.decoder",
        bias=f"{prefix}.bias",
        tied=is_tied(file, True),
        rest=rest,
    )


bert_classifier = classifier("pooler.dense", "tanh", "classifier")


BERT = Architecture(
    config=BertConfig,
    encoder="tf_exporter.architectures.bert.encoder:Bert",
    prefix="bert",
    dropout=Dropout(),
    pooler="pooler.dense",
    unused=UNUSED,
    ignored=ONLY_CHECKED,
    classifier=bert_classifier,
    masked_lm=bert_masked_lm,
)
