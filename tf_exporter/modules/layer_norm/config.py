"""The config of LayerNorm."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions, check_width


@dataclass(frozen=True)
class LayerNormConfig:
    """The width of the embedding that is normalized."""

    dimension: int


def read(file: ConfigFile, dimensions: Dimensions) -> LayerNormConfig:
    """Reads config.json; no width changes."""
    width = dimensions.width_of(file, "type", "sentence_embedding")
    dimension = file.take("dimension", int, required=True)
    check_width(file, "dimension", dimension, width)
    finish(file, "LayerNorm")
    return LayerNormConfig(dimension)
