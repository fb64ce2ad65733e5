"""The config of WordEmbeddings."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions
from tf_exporter.routes import module_kind

WHITE_SPACE = "WhitespaceTokenizer"
TOKENIZERS = (WHITE_SPACE, "TransformersTokenizerWrapper")


@dataclass(frozen=True)
class WordEmbeddingsConfig:
    """What makes ids of texts."""

    tokenizer: str
    """One of `TOKENIZERS`."""
    max_length: int | None
    """Words that are kept of a text."""


def read(file: ConfigFile, dimensions: Dimensions) -> WordEmbeddingsConfig:
    """What wordembedding_config.json says; the weights tell the width of `token_embeddings`."""
    path = file.take("tokenizer_class", str, required=True)
    kind = module_kind(file.file, "tokenizer_class", path)
    if kind not in TOKENIZERS:
        file.refuse(file.unsupported("tokenizer_class", TOKENIZERS))
    file.take("update_embeddings", bool)  # of training
    length = file.take("max_seq_length", (int, type(None)), 1_000_000)
    if length is not None and not 1 <= length < 2**31:
        file.refuse(file.unsupported("max_seq_length", "a positive number below 2³¹"))
    finish(file, "WordEmbeddings")
    dimensions.update(token_embeddings=None, input_ids=None)
    dimensions.update(sentence_lengths=0, cls_token_embeddings=0)
    return WordEmbeddingsConfig(kind, length)
