"""The config of WeightedLayerPooling."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import ANY, NOT_COLLECTED, Dimensions, take_renamed


@dataclass(frozen=True)
class WeightedLayerPoolingConfig:
    """Which of an encoder's layers are averaged."""

    start: int
    """The first of them, 0 being what goes into the first layer."""
    count: int
    """How many."""


def read(file: ConfigFile, dimensions: Dimensions) -> WeightedLayerPoolingConfig:
    """What config.json says; no width changes."""
    dimensions.of(file, "type", "token_embeddings")
    # A value that no result depends on.
    take_renamed(file, "embedding_dimension", "word_embedding_dimension", ANY)
    layers, start = file.take("num_hidden_layers", int, 12), file.take("layer_start", int, 4)
    given = dimensions.get("all_layer_embeddings")
    if given == NOT_COLLECTED:
        supported = "it behind BERT and its relatives, without a head, where config.json has output_hidden_states"
        raise file.unsupported("num_hidden_layers", supported)
    if given is not None and layers != given - 1:
        file.refuse(file.unsupported("num_hidden_layers", f"{given - 1}, the encoder's"))
    if not 0 <= start <= layers:
        file.refuse(file.unsupported("layer_start", f"one of 0 … {layers}"))
    file.require("layer_weights", (None,))
    finish(file, "WeightedLayerPooling")
    return WeightedLayerPoolingConfig(start, layers + 1 - start)
