"""The config of BoW."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions
from tf_exporter.model.modules.word_weights import read_vocab, read_word_weights


@dataclass(frozen=True)
class BoWConfig:
    """A vocabulary, and what each of its words counts for."""

    vocab: tuple[str, ...]
    """Each word once."""
    weights: tuple[float, ...]
    counts: bool
    """Whether a word counts as often as it is in a text."""


def read(file: ConfigFile, dimensions: Dimensions) -> BoWConfig:
    """What config.json says; `sentence_embedding` becomes as wide as the vocabulary."""
    vocab = tuple(dict.fromkeys(read_vocab(file)))
    weights = read_word_weights(file, vocab, required=False)
    config = BoWConfig(vocab, weights, file.take("cumulative_term_frequency", bool, True))
    finish(file, "BoW")
    dimensions["sentence_embedding"] = len(vocab)
    return config
