"""GTE (X. Zhang et al., 2024), as `transformers.models.gte` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import bert_classifier
from tf_exporter.architectures.gte.remote_code import NEW, SNOWFLAKE
from tf_exporter.architectures.head_configs import MaskedLMConfig, Norm, is_tied
from tf_exporter.architectures.rotary_bert.config import UNUSED, RotaryBertConfig
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class GteConfig(RotaryBertConfig):
    """`transformers.GteConfig`: the keys that change a token embedding."""

    theta = 160_000.0

    vocab_size: int = 250048
    type_vocab_size: int = field(default=1, metadata={"least": 0})


def gte_masked_lm(file: ConfigFile, config: GteConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    if config.hidden_act != "gelu":
        # transformers' head always has gelu, while the published code uses the config's function.
        file.refuse(
            UnsupportedError(
                file.file,
                "hidden_act",
                config.hidden_act,
                "gelu, for a model with a masked LM head",
            )
        )
    return MaskedLMConfig(
        dense="lm_head.dense",
        norm=Norm(("lm_head.layer_norm", "lm_head.norm"), config.layer_norm_eps),
        activation="gelu",
        decoder="lm_head.decoder",
        bias=None,
        tied=is_tied(file, True),
    )


GTE = Architecture(
    config=GteConfig,
    encoder="tf_exporter.architectures.gte.encoder:Gte",
    prefix=("gte", "new"),
    adapters=False,
    remote_code=(NEW, SNOWFLAKE),
    unused=UNUSED,
    classifier=bert_classifier,
    masked_lm=gte_masked_lm,
)
