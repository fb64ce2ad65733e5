"""The config of SpladePooling."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import ANY, Dimensions

_STRATEGIES = ("max", "sum")
_ACTIVATIONS = {"relu": 1, "log1p_relu": 2}
"""How often log(1 + x) is taken."""


@dataclass(frozen=True)
class SpladePoolingConfig:
    """How logits of all places become one weight for each token of the vocabulary."""

    sums: bool
    """Whether the weights of all places are added up; else the highest counts."""
    logarithms: int
    """How often log(1 + x) is taken."""


def read(file: ConfigFile, dimensions: Dimensions) -> SpladePoolingConfig:
    """What config.json says; `sentence_embedding` becomes as wide as the logits."""
    width = dimensions.of(file, "type", "token_embeddings")
    for key in ("embedding_dimension", "word_embedding_dimension"):
        # No result depends on them: the reference takes the width of the logits.
        file.take(key, ANY)
    file.take("chunk_size", (int, type(None)))  # saves memory only
    file.require("pooling_strategy", _STRATEGIES)
    file.require("activation_function", tuple(_ACTIVATIONS))
    finish(file, "SpladePooling")
    dimensions["sentence_embedding"] = width
    sums = file.take("pooling_strategy", str, "max") == "sum"
    return SpladePoolingConfig(sums, _ACTIVATIONS[file.take("activation_function", str, "relu")])
