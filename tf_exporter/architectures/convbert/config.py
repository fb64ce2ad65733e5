"""ConvBERT (Z. Jiang et al., 2020), as `transformers.models.convbert` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import UNUSED, BertConfig
from tf_exporter.architectures.electra.config import electra_masked_lm
from tf_exporter.architectures.encoder_config import WIDEST_KERNEL
from tf_exporter.architectures.head_configs import ClassificationConfig, classifier
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class ConvBertConfig(BertConfig):
    """`transformers.ConvBertConfig`: the keys that change a token embedding."""

    embedding_size: int = 768
    head_ratio: int = 2
    conv_kernel_size: int = field(default=9, metadata={"most": WIDEST_KERNEL})
    num_groups: int = 1

    @property
    def heads(self) -> int:
        """The number of attention heads, and also the number of convolution heads."""
        return max(1, self.num_attention_heads // self.head_ratio)

    def check(self, file: ConfigFile) -> None:
        hidden, inner = self.hidden_size, self.intermediate_size
        if hidden % (2 * self.heads):
            supported = (
                f"a value for which 2 · (num_attention_heads // head_ratio) divides {hidden}, "
                "the hidden size"
            )
            error = UnsupportedError(
                file.file, "num_attention_heads", self.num_attention_heads, supported
            )
            file.refuse(error, "hidden_size", "head_ratio")
        super().check(file)
        if self.conv_kernel_size % 2 == 0:
            file.refuse(
                UnsupportedError(
                    file.file, "conv_kernel_size", self.conv_kernel_size, "an odd number"
                )
            )
        if hidden % self.num_groups or inner % self.num_groups:
            error = UnsupportedError(
                file.file, "num_groups", self.num_groups, f"a divisor of {hidden} and {inner}"
            )
            file.refuse(error, "hidden_size", "intermediate_size")


def convbert_classifier(file: ConfigFile, config: ConvBertConfig) -> ClassificationConfig:
    """The config of the classification head."""
    return classifier("classifier.dense", config.hidden_act, "classifier.out_proj")(file, config)


CONVBERT = Architecture(
    config=ConvBertConfig,
    encoder="tf_exporter.architectures.convbert.encoder:ConvBert",
    prefix="convbert",
    unused=(*UNUSED, r"generator_(predictions|lm_head)\..*", r"sequence_summary\..*"),
    pads_leak=True,
    classifier=convbert_classifier,
    masked_lm=electra_masked_lm,
)
