"""The config of StaticEmbedding, of which the reference reads none."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions


@dataclass(frozen=True)
class StaticEmbeddingConfig:
    """Nothing: all is in the tokenizer and the weights."""


def read(file: ConfigFile, dimensions: Dimensions) -> StaticEmbeddingConfig:
    """Nothing; `sentence_embedding` becomes as wide as the table, which is not known here."""
    finish(file, "StaticEmbedding")
    dimensions["sentence_embedding"] = None
    return StaticEmbeddingConfig()
