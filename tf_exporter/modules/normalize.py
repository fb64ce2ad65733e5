"""Normalize: unit length, as `torch.nn.functional.normalize`."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.model.modules.normalize import NormalizeConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights

_SMALLEST_NORM = 1e-12


class Normalize:
    """x / max(‖x‖₂, 1e-12)"""

    takes_texts = weighted = False

    def __init__(self, config: NormalizeConfig, weights: Weights | None):
        self._source, self._target = config.source, config.target

    def __call__(self, features: Features) -> Features:
        """float32 [..., width] of one feature → the same of another."""
        x = features[self._source]
        norm = tf.sqrt(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))
        return {**features, self._target: x / tf.maximum(norm, _SMALLEST_NORM)}
