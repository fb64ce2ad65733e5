"""No head: the encoder's tokens as they are."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


class NoHead:
    """float32 [batch, length, hidden], unchanged."""

    takes_first = False

    def __init__(self, file: ConfigFile, weights: Weights, encoder: Any):
        self.width: int = encoder.hidden_size

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As it says."""
        return tokens
