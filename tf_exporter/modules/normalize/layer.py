"""Normalize: scaling to unit length, as in `torch.nn.functional.normalize`."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.normalize.config import NormalizeConfig

_SMALLEST_NORM = 1e-12


class Normalize(Module):
    """x / max(‖x‖₂, 1e-12)"""

    def __init__(self, config: NormalizeConfig):
        super().__init__()
        self._source, self._target = config.source, config.target

    def __call__(self, features: Features) -> Features:
        """One feature, float32 [..., width] → another one of the same shape."""
        x = features[self._source]
        norm = tf.sqrt(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))
        return {**features, self._target: x / tf.maximum(norm, _SMALLEST_NORM)}
