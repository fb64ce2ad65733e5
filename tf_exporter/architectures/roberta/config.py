"""RoBERTa (Y. Liu et al., 2019), XLM-RoBERTa and CamemBERT, as in transformers 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.bert.config import ONLY_CHECKED, UNUSED, BertConfig, LayersConfig
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class XLMRobertaConfig(BertConfig):
    """`XLMRobertaConfig`, `CamembertConfig`: the keys that change a token embedding."""

    pad_token_id: int = field(default=1, metadata={"least": 0})

    def check(self, file: ConfigFile) -> None:
        super().check(file)
        if self.max_length is not None and self.max_length < 1:
            supported = "less than max_position_embeddings − 1"
            error = UnsupportedError(file.file, "pad_token_id", self.pad_token_id, supported)
            file.refuse(error, "max_position_embeddings")

    @property
    def max_length(self) -> int | None:
        # Positions start after the padding's.
        return self.max_position_embeddings - self.pad_token_id - 1

    def counts_padding(self, pad_id: int) -> bool:
        return pad_id != self.pad_token_id


@dataclass(frozen=True)
class RobertaConfig(XLMRobertaConfig):
    """`transformers.RobertaConfig`: the keys that change a token embedding."""

    vocab_size: int = 50265


def roberta_masked_lm(file: ConfigFile, config: LayersConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    return MaskedLMConfig(
        dense="lm_head.dense",
        norm=Norm(("lm_head.layer_norm",), config.layer_norm_eps),
        activation="gelu",
        decoder="lm_head.decoder",
        bias="lm_head.bias",
        tied=is_tied(file, True),
    )


roberta_classifier = classifier("classifier.dense", "tanh", "classifier.out_proj")


XLM_ROBERTA = Architecture(
    config=XLMRobertaConfig,
    encoder="tf_exporter.architectures.roberta.encoder:Roberta",
    prefix="roberta",
    dropout=Dropout(),
    pooler="pooler.dense",
    unused=(*UNUSED, r"lm_head\..*"),
    ignored=ONLY_CHECKED,
    classifier=roberta_classifier,
    masked_lm=roberta_masked_lm,
)
ROBERTA = replace(XLM_ROBERTA, config=RobertaConfig)
