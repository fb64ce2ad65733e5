"""WordWeights: each word's embedding times a weight, such as its idf, as sentence-transformers 6.2."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features
from tf_exporter.weights import Weights

_LARGEST = float(np.finfo(np.float32).max)


def read_vocab(file: ConfigFile) -> list[str]:
    """`vocab`: a list, or an object whose keys count in their order, as saved of a transformers tokenizer."""
    vocab = [*file.take("vocab", (list, dict), required=True)]
    if not vocab or not all(isinstance(word, str) for word in vocab):
        raise file.unsupported("vocab", "a list of at least one string")
    return vocab


def read_word_weights(file: ConfigFile, vocab: list[str], *, required: bool) -> np.ndarray:
    """float32 [vocab]: the weight of each word, or else that of the word in lower case, or else `unknown_word_weight`."""
    weights = file.take("word_weights", dict, {}, required=required)
    unknown = file.take("unknown_word_weight", (int, float), 1)
    for word, weight in (*weights.items(), (None, unknown)):
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or abs(weight) > _LARGEST:
            key = "unknown_word_weight" if word is None else "word_weights"
            raise file.unsupported(key, "finite numbers")
    return np.array([weights.get(word, weights.get(word.lower(), unknown)) for word in vocab], np.float32)


class WordWeights(tf.Module):
    """`token_embeddings` times the weights of their tokens; the sum of the weights is what a mean behind it divides by."""

    takes_texts, weighted = False, True
    unused = (r"emb_layer\.weight",)
    """The reference makes it anew of the config."""

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        dimensions.of(file, "type", "token_embeddings")
        vocab = read_vocab(file)
        if len(vocab) < dimensions["input_ids"]:
            raise file.unsupported("vocab", f"at least {dimensions['input_ids']} words, one for each id")
        self.weight = variable(read_word_weights(file, vocab, required=True), "weight")
        file.finish()

    def __call__(self, features: Features) -> Features:
        """`token_embeddings` [batch, length, width] → the same; `token_weights_sum` float32 [batch]."""
        weights = tf.gather(self.weight, features["input_ids"]) * tf.cast(features["attention_mask"], tf.float32)
        tokens = features["token_embeddings"] * weights[:, :, tf.newaxis]
        return {**features, "token_embeddings": tokens, "token_weights_sum": tf.reduce_sum(weights, axis=1)}
