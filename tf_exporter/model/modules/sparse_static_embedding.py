"""The config of SparseStaticEmbedding."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import ANY, Dimensions


@dataclass(frozen=True)
class SparseStaticEmbeddingConfig:
    """Nothing that matters: all is in the tokenizer and the weights."""


def read(file: ConfigFile, dimensions: Dimensions) -> SparseStaticEmbeddingConfig:
    """What config.json says; the width of `sentence_embedding` is the tokenizer's to tell."""
    file.take("frozen", ANY)  # of training
    path = file.take("path", (str, type(None)))
    if path is not None and path.endswith(".json"):
        # The reference looks for it in the current folder, or takes its name for a repository's.
        supported = "no name of a JSON file: the weights of the model are taken"
        file.refuse(file.unsupported("path", supported))
    finish(file, "SparseStaticEmbedding")
    dimensions["sentence_embedding"] = None
    return SparseStaticEmbeddingConfig()
