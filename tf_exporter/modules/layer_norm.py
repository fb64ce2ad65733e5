"""LayerNorm of the sentence embedding, as sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders import blocks
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, check_width
from tf_exporter.weights import Weights

_EPS = 1e-5
"""torch's default; the module has no key for it."""


class LayerNorm(tf.Module):
    """`torch.nn.LayerNorm(dimension)`"""

    takes_texts, weighted = False, True

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        width = dimensions.of(file, "type", "sentence_embedding")
        check_width(file, "dimension", file.take("dimension", int, required=True), width)
        file.finish()
        self.norm = blocks.LayerNorm(weights, "norm", width, _EPS)

    def __call__(self, features: Features) -> Features:
        """float32 [batch, dimension] → the same."""
        return {**features, "sentence_embedding": self.norm(features["sentence_embedding"])}
