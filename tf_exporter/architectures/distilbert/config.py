"""DistilBERT (V. Sanh et al., 2019), as `transformers.models.distilbert` 5.24: no segments."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.encoder_config import EncoderConfig, check_activation, check_heads
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, classifier, is_tied
from tf_exporter.model.config_file import ConfigFile

EPS = 1e-12
"""Epsilon of all norms, a constant in the reference."""


@dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """`transformers.DistilBertConfig`: the keys that change a token embedding."""

    aliases = MappingProxyType(
        {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}
    )

    vocab_size: int = 30522
    dim: int = 768
    n_layers: int = 6
    n_heads: int = 12
    hidden_dim: int = 4 * 768
    activation: str = "gelu"
    max_position_embeddings: int = 512

    @property
    def hidden_size(self) -> int:
        return self.dim

    @property
    def max_length(self) -> int | None:
        return self.max_position_embeddings

    @property
    def fails_beyond(self) -> bool:
        return True

    def counts_padding(self, pad_id: int) -> bool:
        return True

    def check(self, file: ConfigFile) -> None:
        check_heads(file, self.dim, self.n_heads, ("dim", "n_heads"))
        check_activation(file, "activation", self.activation)


def distilbert_masked_lm(file: ConfigFile, config: DistilBertConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    return MaskedLMConfig(
        dense="vocab_transform",
        norm=Norm(("vocab_layer_norm",), EPS),
        activation=config.activation,
        decoder="vocab_projector",
        bias=None,
        tied=is_tied(file, True),
    )


DISTILBERT = Architecture(
    config=DistilBertConfig,
    encoder="tf_exporter.architectures.distilbert.encoder:DistilBert",
    prefix="distilbert",
    dropout=Dropout("dropout", "attention_dropout"),
    unused=(
        r"(.*\.)?embeddings\.position_ids",
        r"vocab_(transform|layer_norm|projector)\..*",
        r"(pre_)?classifier\..*",
        r"qa_outputs\..*",
    ),
    classifier=classifier("pre_classifier", "relu", "classifier"),
    masked_lm=distilbert_masked_lm,
)
