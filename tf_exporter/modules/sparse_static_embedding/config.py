"""The config of SparseStaticEmbedding."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions


@dataclass(frozen=True)
class SparseStaticEmbeddingConfig:
    """Empty: everything is in the tokenizer and the weights."""


def read(file: ConfigFile, dimensions: Dimensions) -> SparseStaticEmbeddingConfig:
    """Reads config.json; the width of `sentence_embedding` depends on the tokenizer."""
    file.take("frozen", ANY)  # only used in training
    path = file.take("path", (str, type(None)))
    if path is not None and path.endswith(".json"):
        # The reference looks for the file in the current folder, or in a repository of its name.
        supported = "no JSON file, as the model's own weights are used"
        file.refuse(file.unsupported("path", supported))
    finish(file, "SparseStaticEmbedding")
    dimensions["sentence_embedding"] = None
    return SparseStaticEmbeddingConfig()
