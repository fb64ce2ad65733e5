"""Dropout: nothing, once training is over."""

from __future__ import annotations

from tf_exporter.model.modules.dropout import DropoutConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class Dropout:
    """The identity."""

    takes_texts = weighted = False

    def __init__(self, config: DropoutConfig, weights: Weights | None):
        pass

    def __call__(self, features: Features) -> Features:
        """Nothing changes."""
        return features
