"""The config of LayerNorm."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions, check_width


@dataclass(frozen=True)
class LayerNormConfig:
    """The width of what is normalized."""

    dimension: int


def read(file: ConfigFile, dimensions: Dimensions) -> LayerNormConfig:
    """What config.json says; no width changes."""
    width = dimensions.of(file, "type", "sentence_embedding")
    dimension = file.take("dimension", int, required=True)
    check_width(file, "dimension", dimension, width)
    finish(file, "LayerNorm")
    return LayerNormConfig(dimension)
