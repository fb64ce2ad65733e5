"""WeightedLayerPooling: nothing, as the encoders here give their last layer alone; as sentence-transformers 6.2."""

from __future__ import annotations

from tf_exporter.modules.features import Dimensions, Features, read_renamed_width
from tf_exporter.source import ConfigFile
from tf_exporter.weights import Weights


class WeightedLayerPooling:
    """The identity, also in the reference where the encoder's config has no `output_hidden_states`."""

    takes_texts, weighted = False, True

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        read_renamed_width(file, "embedding_dimension", "word_embedding_dimension", dimensions)
        layers, start = file.take("num_hidden_layers", int, 12), file.take("layer_start", int, 4)
        if not 0 <= start <= layers:
            raise file.unsupported("layer_start", f"one of 0 … {layers}")
        weights.take("layer_weights", (layers + 1 - start,))
        file.finish()

    def __call__(self, features: Features) -> Features:
        """Nothing changes."""
        return features
