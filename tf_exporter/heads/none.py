"""No head: the encoder's tokens as they are."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.heads import NoHeadConfig
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.weights import Weights


class NoHead:
    """float32 [batch, length, hidden], unchanged."""

    takes_first = False

    def __init__(self, config: NoHeadConfig, weights: Weights, encoder: Encoder):
        self.width: int = encoder.hidden_size

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As it says."""
        return tokens
