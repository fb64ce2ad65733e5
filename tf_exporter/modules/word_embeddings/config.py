"""The config of WordEmbeddings."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.router import module_kind

WHITE_SPACE = "WhitespaceTokenizer"
TOKENIZERS = (WHITE_SPACE, "TransformersTokenizerWrapper")


@dataclass(frozen=True)
class WordEmbeddingsConfig:
    """The tokenizer and its length limit."""

    tokenizer: str
    """One of `TOKENIZERS`."""
    max_length: int | None
    """The number of words that a text is truncated to; None: no limit."""


def read(file: ConfigFile, dimensions: Dimensions) -> WordEmbeddingsConfig:
    """Reads wordembedding_config.json; the width of `token_embeddings` depends on the weights."""
    path = file.take("tokenizer_class", str, required=True)
    kind = module_kind(file.file, "tokenizer_class", path)
    if kind not in TOKENIZERS:
        file.refuse(file.unsupported("tokenizer_class", TOKENIZERS))
    file.take("update_embeddings", bool)  # only used in training
    length = file.take("max_seq_length", (int, type(None)), 1_000_000)
    if length is not None and not 1 <= length < 2**31:
        file.refuse(file.unsupported("max_seq_length", "a positive number below 2³¹"))
    finish(file, "WordEmbeddings")
    dimensions.update(token_embeddings=None, input_ids=None)
    dimensions.update(sentence_lengths=0, cls_token_embeddings=0)
    return WordEmbeddingsConfig(kind, length)
