"""ELECTRA (K. Clark et al., 2020), as `transformers.models.electra` 5.23: BERT with narrower embeddings, projected."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.bert import UNUSED, Bert, BertConfig
from tf_exporter.encoders.config import read_config
from tf_exporter.source import ConfigFile


@dataclass(frozen=True)
class ElectraConfig(BertConfig):
    """`transformers.ElectraConfig`: the keys that change a token embedding."""

    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    embedding_size: int = 128


class Electra(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    prefix = "electra"
    unused = (*UNUSED, r"discriminator_predictions\..*", r"generator_predictions\..*", r"generator_lm_head\..*")

    @staticmethod
    def _read(file: ConfigFile) -> BertConfig:
        return read_config(file, ElectraConfig)

    @staticmethod
    def _embedding_size(config: BertConfig) -> int:
        assert isinstance(config, ElectraConfig)
        return config.embedding_size
