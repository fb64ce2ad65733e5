"""The config of WordWeights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions

_LARGEST = float.fromhex("0x1.fffffep+127")
"""The largest float32."""


@dataclass(frozen=True)
class WordWeightsConfig:
    """The weights that the embeddings of tokens are multiplied by."""

    weights: tuple[float, ...]
    """One for each token id."""


def read_vocab(file: ConfigFile) -> list[str]:
    """`vocab`: a list, or the keys of an object, as saved from a transformers tokenizer."""
    vocab = [*file.take("vocab", (list, dict), required=True)]
    if not vocab or not all(isinstance(word, str) for word in vocab):
        raise file.unsupported("vocab", "a list of at least one string")
    return vocab


def read_word_weights(
    file: ConfigFile,
    vocab: Sequence[str],
    *,
    required: bool,
) -> tuple[float, ...]:
    """The weight of each word, else that of its lowercase form, else `unknown_word_weight`."""
    weights = file.take("word_weights", dict, {}, required=required)
    unknown = file.take("unknown_word_weight", (int, float), 1)
    for word, weight in (*weights.items(), (None, unknown)):
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or abs(weight) > _LARGEST:
            key = "unknown_word_weight" if word is None else "word_weights"
            file.refuse(file.unsupported(key, "finite numbers"))
    return tuple(weights.get(word, weights.get(word.lower(), unknown)) for word in vocab)


def read(file: ConfigFile, dimensions: Dimensions) -> WordWeightsConfig:
    """Reads config.json, which must have a word for each token id."""
    dimensions.width_of(file, "type", "token_embeddings")
    vocab = read_vocab(file)
    ids = dimensions.get("input_ids")
    if ids is not None and len(vocab) < ids:
        file.refuse(file.unsupported("vocab", f"at least {ids} words, one for each id"))
    config = WordWeightsConfig(read_word_weights(file, vocab, required=True))
    finish(file, "WordWeights")
    return config
