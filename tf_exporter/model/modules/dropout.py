"""The config of Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions


@dataclass(frozen=True)
class DropoutConfig:
    """Nothing that matters once training is over."""


def read(file: ConfigFile, dimensions: Dimensions) -> DropoutConfig:
    """What config.json says; no width changes."""
    dimensions.of(file, "type", "sentence_embedding")
    file.take("dropout", (int, float), 0.2)
    finish(file, "Dropout")
    return DropoutConfig()
