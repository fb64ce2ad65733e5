"""The config of Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions


@dataclass(frozen=True)
class DropoutConfig:
    """Empty, as dropout matters only in training."""


def check_rate(file: ConfigFile) -> None:
    """Refuses a `dropout` that is no probability: the reference fails on it, even if unused."""
    if not 0 <= file.take("dropout", (int, float), 0) <= 1:
        file.refuse(file.unsupported("dropout", "a number from 0 to 1"))


def read(file: ConfigFile, dimensions: Dimensions) -> DropoutConfig:
    """Reads config.json; no width changes."""
    dimensions.width_of(file, "type", "sentence_embedding")
    check_rate(file)
    finish(file, "Dropout")
    return DropoutConfig()
