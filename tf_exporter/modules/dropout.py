"""Dropout: nothing, once training is over."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features
from tf_exporter.weights import Weights


class Dropout:
    """The identity."""

    takes_texts = weighted = False

    def __init__(self, file: ConfigFile, weights: Weights | None, dimensions: Dimensions):
        dimensions.of(file, "type", "sentence_embedding")
        file.take("dropout", (int, float), 0.2)
        file.finish()

    def __call__(self, features: Features) -> Features:
        """Nothing changes."""
        return features
