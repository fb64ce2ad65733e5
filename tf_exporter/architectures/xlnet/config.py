"""XLNet (Z. Yang et al., 2019), as `transformers.models.xlnet` 5.24, without its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from tf_exporter.architectures.activation_names import TRANSFORMERS_NAMES
from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import (
    EncoderConfig,
    check_activation,
    check_heads,
    check_name,
)
from tf_exporter.architectures.head_configs import ClassificationConfig, label_count
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

SEGMENTS = 5
"""The segments that its tokenizer knows: first and second text, class, separator, padding."""
_FARTHEST = 2**31 - 1
_POOLINGS = {"last": "last", "cls_index": "last", "first": "cls"}
"""`summary_type` → the pooling; without an index, "cls_index" is the last place."""


@dataclass(frozen=True, kw_only=True)
class XlnetConfig(EncoderConfig):
    """`transformers.XLNetConfig`: the keys that change a token embedding."""

    aliases: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "n_token": "vocab_size",
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
        }
    )

    vocab_size: int = 32000
    d_model: int = 1024
    n_layer: int = field(default=24, metadata={"most": 1000})
    n_head: int = 16
    d_inner: int = 4096
    ff_activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    clamp_len: int = field(default=-1, metadata={"least": -1, "most": _FARTHEST})

    @property
    def hidden_size(self) -> int:
        return self.d_model

    @property
    def type_vocab_size(self) -> int:
        return SEGMENTS

    def check(self, file: ConfigFile) -> None:
        size = check_heads(file, self.d_model, self.n_head, ("d_model", "n_head"))
        given = file.take("d_head", (int, type(None)))
        if given not in (None, 0, size):
            error = UnsupportedError(file.file, "d_head", given, f"{size}, d_model / n_head")
            file.refuse(error, "d_model", "n_head")
        if self.d_model % 2:
            supported = "an even number, for sines and cosines of positions"
            file.refuse(UnsupportedError(file.file, "d_model", self.d_model, supported))
        check_activation(file, "ff_activation", self.ff_activation)
        file.require("attn_type", ("bi",))
        file.require("bi_data", (False,))


def xlnet_classifier(file: ConfigFile, config: XlnetConfig) -> ClassificationConfig:
    """The config of `XLNetForSequenceClassification`."""
    kind = file.take("summary_type", str, "last")
    check_name(file, "summary_type", kind, _POOLINGS)
    activation = file.take("summary_activation", str, "tanh") or "linear"
    check_name(file, "summary_activation", activation, TRANSFORMERS_NAMES)
    file.require("summary_proj_to_labels", (False,))
    projects = file.take("summary_use_proj", bool, True)
    return ClassificationConfig(
        label_count(file),
        "sequence_summary.summary" if projects else None,
        activation,
        "logits_proj",
        pooling=_POOLINGS.get(kind, "last"),
    )


XLNET = Architecture(
    config=XlnetConfig,
    encoder="tf_exporter.architectures.xlnet.encoder:Xlnet",
    prefix="transformer",
    unused=(
        r"mask_emb",
        r"lm_loss\..*",
        r"sequence_summary\..*",
        r"logits_proj\..*",
        r"classifier\..*",
        r"(start_logits|end_logits|answer_class|qa_outputs)\..*",
    ),
    # Its memory of earlier texts, which no text has; the masks of one-way attention; training.
    ignored=frozenset(
        """
        mem_len reuse_len use_mems_eval use_mems_train same_length start_n_top end_n_top untie_r
        summary_proj_to_labels summary_first_dropout
        """.split()
    ),
    classifier=xlnet_classifier,
)
