"""The config of StaticEmbedding, which the reference does not read."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions


@dataclass(frozen=True)
class StaticEmbeddingConfig:
    """Empty: everything is in the tokenizer and the weights."""


def read(file: ConfigFile, dimensions: Dimensions) -> StaticEmbeddingConfig:
    """Reads nothing; the width of `sentence_embedding` depends on the weights."""
    finish(file, "StaticEmbedding")
    dimensions["sentence_embedding"] = None
    return StaticEmbeddingConfig()
