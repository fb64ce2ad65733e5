"""LayerNorm of the sentence embedding, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders import blocks
from tf_exporter.model.modules.layer_norm import LayerNormConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights

_EPS = 1e-5
"""torch's default; the module has no key for it."""


class LayerNorm(tf.Module):
    """`torch.nn.LayerNorm(dimension)`"""

    takes_texts, weighted = False, True

    def __init__(self, config: LayerNormConfig, weights: Weights):
        super().__init__()
        self.norm = blocks.LayerNorm(weights, "norm", config.dimension, _EPS)

    def __call__(self, features: Features) -> Features:
        """float32 [batch, dimension] → the same."""
        return {**features, "sentence_embedding": self.norm(features["sentence_embedding"])}
