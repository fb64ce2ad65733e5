"""The config of BoW."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.word_weights.config import read_vocab, read_word_weights


@dataclass(frozen=True)
class BoWConfig:
    """A vocabulary and the weight of each of its words."""

    vocab: tuple[str, ...]
    """Each word once."""
    weights: tuple[float, ...]
    counts: bool
    """Whether the weight is multiplied by the number of occurrences in the text."""


def read(file: ConfigFile, dimensions: Dimensions) -> BoWConfig:
    """Reads config.json; `sentence_embedding` becomes as wide as the vocabulary."""
    vocab = tuple(dict.fromkeys(read_vocab(file)))
    weights = read_word_weights(file, vocab, required=False)
    config = BoWConfig(vocab, weights, file.take("cumulative_term_frequency", bool, True))
    finish(file, "BoW")
    dimensions["sentence_embedding"] = len(vocab)
    return config
