"""The config of WeightedLayerPooling."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, NOT_COLLECTED, Dimensions, take_renamed


@dataclass(frozen=True)
class WeightedLayerPoolingConfig:
    """The hidden states that are averaged."""

    start: int
    """The first of them; 0 is the input of the encoder's first layer."""
    count: int
    """The number of hidden states."""


def read(file: ConfigFile, dimensions: Dimensions) -> WeightedLayerPoolingConfig:
    """Reads config.json; no width changes."""
    dimensions.width_of(file, "type", "token_embeddings")
    # No result depends on this value.
    take_renamed(file, "embedding_dimension", "word_embedding_dimension", ANY)
    layers, start = file.take("num_hidden_layers", int, 12), file.take("layer_start", int, 4)
    given = dimensions.get("all_layer_embeddings")
    if given == NOT_COLLECTED:
        supported = (
            "this module only after an encoder without a head, with output_hidden_states in "
            "config.json"
        )
        raise file.unsupported("num_hidden_layers", supported)
    if given is not None and layers != given - 1:
        file.refuse(file.unsupported("num_hidden_layers", f"{given - 1}, as in the encoder"))
    if not 0 <= start <= layers:
        file.refuse(file.unsupported("layer_start", f"a number from 0 to {layers}"))
    file.require("layer_weights", (None,))
    finish(file, "WeightedLayerPooling")
    return WeightedLayerPoolingConfig(start, layers + 1 - start)
