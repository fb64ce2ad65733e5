"""The config of SpladePooling."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions

_STRATEGIES = ("max", "sum")
_ACTIVATIONS = {"relu": 1, "log1p_relu": 2}
"""Name → how often log(1 + x) is applied."""


@dataclass(frozen=True)
class SpladePoolingConfig:
    """The reduction of the logits at all positions to one weight for each vocabulary token."""

    sums: bool
    """Whether the weights at all positions are summed; else the highest is used."""
    logarithms: int
    """How often log(1 + x) is applied."""


def read(file: ConfigFile, dimensions: Dimensions) -> SpladePoolingConfig:
    """Reads config.json; `sentence_embedding` becomes as wide as the logits."""
    width = dimensions.width_of(file, "type", "token_embeddings")
    for key in ("embedding_dimension", "word_embedding_dimension"):
        # No result depends on these: the reference uses the width of the logits.
        file.take(key, ANY)
    file.take("chunk_size", (int, type(None)))  # saves memory only
    file.require("pooling_strategy", _STRATEGIES)
    file.require("activation_function", tuple(_ACTIVATIONS))
    finish(file, "SpladePooling")
    dimensions["sentence_embedding"] = width
    sums = file.take("pooling_strategy", str, "max") == "sum"
    return SpladePoolingConfig(sums, _ACTIVATIONS[file.take("activation_function", str, "relu")])
