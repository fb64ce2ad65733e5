"""BERT (J. Devlin et al., 2018), as `transformers.models.bert` 5.23; its relatives differ in a few places each."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.config import EncoderConfig, check_activation, check_heads
from tf_exporter.architectures.heads import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.model.config_file import ConfigFile

UNUSED = (
    r"(.*\.)?embeddings\.position_ids",
    r"(.*\.)?embeddings\.token_type_ids",
    r"pooler\..*",
    r"cls\..*",
    r"classifier\..*",
    r"qa_outputs\..*",
)
"""Tensors of heads and buffers."""
ONLY_CHECKED = frozenset({"embedding_size"})
"""Keys that BERT and its like read, but only to skip a check."""


@dataclass(frozen=True)
class LayersConfig(EncoderConfig):
    """What BERT's layers ask of a config."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512

    def check(self, file: ConfigFile) -> None:
        """Refuses values that are not reproduced together."""
        check_heads(file, self.hidden_size, self.num_attention_heads)
        check_activation(file, "hidden_act", self.hidden_act)

    @property
    def max_length(self) -> int | None:
        """Tokens that a text may have."""
        return self.max_position_embeddings

    @property
    def fails_beyond(self) -> bool:
        """The table of positions ends there."""
        return True

    def counts_padding(self, pad_id: int) -> bool:
        """Whether padding on the left, with this id, gives the tokens other positions."""
        return True


@dataclass(frozen=True)
class BertConfig(LayersConfig):
    """`transformers.BertConfig`: the keys that change a token embedding."""

    vocab_size: int = 30522
    type_vocab_size: int = 2


def bert_masked_lm(file: ConfigFile, config: LayersConfig, rest: str | None = None) -> MaskedLMConfig:
    """As `BertForMaskedLM`; `rest`: as in `MaskedLMConfig`."""
    at = "cls.predictions"
    return MaskedLMConfig(
        dense=f"{at}.transform.dense",
        norm=Norm((f"{at}.transform.LayerNorm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder=f"{at}.decoder",
        bias=f"{at}.bias",
        tied=is_tied(file, True),
        rest=rest,
    )


bert_classifier = classifier("pooler.dense", "tanh", "classifier")

BERT = Architecture(
    config=BertConfig,
    prefix="bert",
    unused=UNUSED,
    ignored=ONLY_CHECKED,
    collects_layers=True,
    classifier=bert_classifier,
    masked_lm=bert_masked_lm,
)
