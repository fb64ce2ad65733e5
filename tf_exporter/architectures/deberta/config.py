"""DeBERTa (P. He et al., 2020), its first version, as `transformers.models.deberta` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.deberta_v2.config import (
    IGNORED,
    KINDS,
    UNUSED,
    DisentangledConfig,
    deberta_v2_classifier,
    deberta_v2_masked_lm,
    read_embedding_width,
    read_kinds,
)
from tf_exporter.architectures.encoder_config import read_fields
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class DebertaConfig(DisentangledConfig):
    """`transformers.DebertaConfig`: the keys that change a token embedding."""

    names: int
    """The number of names in `pos_att_type`; repeated and empty ones count."""

    @property
    def terms(self) -> int:
        return self.names

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        names = read_kinds(file)
        config = cls(
            **keys,
            kinds=tuple(kind for kind in KINDS if kind in names),
            embedding_width=read_embedding_width(file, keys["hidden_size"]),
            names=len(names),
        )
        config.check(file)
        return config

    def check(self, file: ConfigFile) -> None:
        super().check(file)
        file.require("talking_head", (False,))


DEBERTA = Architecture(
    config=DebertaConfig,
    encoder="tf_exporter.architectures.deberta.encoder:Deberta",
    prefix="deberta",
    unused=UNUSED,
    ignored=IGNORED,
    classifier=deberta_v2_classifier,
    masked_lm=deberta_v2_masked_lm,
)
