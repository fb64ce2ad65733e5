"""MobileBERT (Z. Sun et al., 2020), as `transformers.models.mobilebert` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import (
    UNUSED,
    BertConfig,
    bert_classifier,
    bert_masked_lm,
)
from tf_exporter.architectures.encoder_config import check_activation, check_heads, check_name
from tf_exporter.architectures.head_configs import ClassificationConfig, MaskedLMConfig, classifier
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

_NORMS = ("no_norm", "layer_norm")
_WIDTH_KEYS = ("hidden_size", "intra_bottleneck_size", "use_bottleneck")


@dataclass(frozen=True)
class MobileBertConfig(BertConfig):
    """`transformers.MobileBertConfig`: the keys that change a token embedding."""

    hidden_size: int = 512
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "relu"
    embedding_size: int = 128
    trigram_input: bool = True
    use_bottleneck: bool = True
    intra_bottleneck_size: int = 128
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"

    @property
    def width(self) -> int:
        """The width of the layers, true_hidden_size in transformers."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def value_width(self) -> int:
        """The width of the input of attention's values."""
        return self.width if self.use_bottleneck_attention else self.hidden_size

    def check(self, file: ConfigFile) -> None:
        width_key = "intra_bottleneck_size" if self.use_bottleneck else "hidden_size"
        check_heads(file, self.width, self.num_attention_heads, (width_key, "num_attention_heads"))
        check_activation(file, "hidden_act", self.hidden_act)
        check_name(file, "normalization_type", self.normalization_type, _NORMS)
        stored_width = file.take("true_hidden_size", int)
        if stored_width is not None and stored_width != self.width:
            supported = f"{self.width}, which follows from the other sizes"
            file.refuse(
                UnsupportedError(file.file, "true_hidden_size", stored_width, supported),
                *_WIDTH_KEYS,
            )
        narrowed = (
            not self.use_bottleneck
            or self.use_bottleneck_attention
            or self.key_query_shared_bottleneck
        )
        if not narrowed and self.width != self.hidden_size:
            supported = "true, or use_bottleneck_attention, as the bottleneck changes the width"
            error = UnsupportedError(file.file, "key_query_shared_bottleneck", False, supported)
            file.refuse(error, "use_bottleneck_attention", *_WIDTH_KEYS)


def mobilebert_classifier(file: ConfigFile, config: MobileBertConfig) -> ClassificationConfig:
    """The config of the classification head."""
    if file.take("classifier_activation", bool, True):
        return bert_classifier(file, config)
    return classifier(None, "linear", "classifier")(file, config)


def mobilebert_masked_lm(file: ConfigFile, config: MobileBertConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    if config.embedding_size > config.hidden_size:
        supported = f"at most {config.hidden_size}, the hidden size"
        file.refuse(
            UnsupportedError(file.file, "embedding_size", config.embedding_size, supported),
            "hidden_size",
        )
    return bert_masked_lm(file, config, rest="cls.predictions.dense")


MOBILEBERT = Architecture(
    config=MobileBertConfig,
    encoder="tf_exporter.architectures.mobilebert.encoder:MobileBert",
    prefix="mobilebert",
    unused=UNUSED,
    ignored=frozenset({"classifier_activation"}),
    pads_leak=True,
    classifier=mobilebert_classifier,
    masked_lm=mobilebert_masked_lm,
)
