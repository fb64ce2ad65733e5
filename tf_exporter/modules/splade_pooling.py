"""SpladePooling: one weight for each token of the vocabulary from the logits of all places, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, check_width
from tf_exporter.weights import Weights

_STRATEGIES = ("max", "sum")
_ACTIVATIONS = {"relu": 1, "log1p_relu": 2}
"""How often log(1 + x) is taken."""


class SpladePooling:
    """`token_embeddings`, logits [batch, length, vocab] → `sentence_embedding` [batch, vocab] (T. Formal et al., 2021)."""

    takes_texts = weighted = False

    def __init__(self, file: ConfigFile, weights: Weights | None, dimensions: Dimensions):
        width = dimensions.of(file, "type", "token_embeddings")
        for key in ("embedding_dimension", "word_embedding_dimension"):
            asked = file.take(key, (int, type(None)))
            check_width(file, key, width if asked is None else asked, width)
        file.require("pooling_strategy", _STRATEGIES)
        file.require("activation_function", tuple(_ACTIVATIONS))
        file.take("chunk_size", (int, type(None)))  # saves memory only
        self._sums = file.take("pooling_strategy", str, "max") == "sum"
        self._logarithms = _ACTIVATIONS[file.take("activation_function", str, "relu")]
        file.finish()
        dimensions["sentence_embedding"] = width

    def __call__(self, features: Features) -> Features:
        """As the class says."""
        mask = features["attention_mask"][:, :, tf.newaxis] > 0
        logits = tf.where(mask, features["token_embeddings"], 0.0)
        # The weights rise with the logits, so it is enough to have that of the highest.
        highest = tf.reduce_max(logits, axis=1)
        pooled = tf.reduce_sum(self._weights(logits), axis=1) if self._sums else self._weights(highest)
        return {**features, "sentence_embedding": pooled}

    def _weights(self, logits: tf.Tensor) -> tf.Tensor:
        weights = tf.nn.relu(logits)
        for _ in range(self._logarithms):
            weights = tf.math.log1p(weights)
        return weights
