"""LayerNorm of the sentence embedding, as in sentence-transformers 6.2."""

from __future__ import annotations

from tf_exporter.layers import basic as blocks
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.layer_norm.config import LayerNormConfig

_EPS = 1e-5
"""torch's default; the module has no key for it."""


class LayerNorm(Module):
    """`torch.nn.LayerNorm(dimension)`"""

    def __init__(self, config: LayerNormConfig, weights: Weights):
        super().__init__()
        self.norm = blocks.LayerNorm(weights, "norm", config.dimension, _EPS)

    def __call__(self, features: Features) -> Features:
        """float32 [batch, dimension] → the same."""
        return {**features, "sentence_embedding": self.norm(features["sentence_embedding"])}
