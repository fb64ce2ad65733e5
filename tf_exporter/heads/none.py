"""No head: the last hidden state, unchanged."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import NoHeadConfig
from tf_exporter.heads.base import Head
from tf_exporter.model.weights import Weights


class NoHead(Head):
    """float32 [batch, length, hidden], unchanged."""

    def __init__(self, config: NoHeadConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        self.width: int = encoder.hidden_size

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        return tokens
