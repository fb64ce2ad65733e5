"""The config of Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions


@dataclass(frozen=True)
class DropoutConfig:
    """Nothing that matters once training is over."""


def check_rate(file: ConfigFile) -> None:
    """`dropout`: the reference fails on what is no probability, though only training has a use for it."""
    if not 0 <= file.take("dropout", (int, float), 0) <= 1:
        file.refuse(file.unsupported("dropout", "a number of 0 to 1"))


def read(file: ConfigFile, dimensions: Dimensions) -> DropoutConfig:
    """What config.json says; no width changes."""
    dimensions.of(file, "type", "sentence_embedding")
    check_rate(file)
    finish(file, "Dropout")
    return DropoutConfig()
