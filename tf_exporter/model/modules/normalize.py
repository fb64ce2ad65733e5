"""The config of Normalize."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import Dimensions, read_names


@dataclass(frozen=True)
class NormalizeConfig:
    """Which feature gets unit length."""

    source: str
    """The feature that is read."""
    target: str
    """The feature that is made."""


def read(file: ConfigFile, dimensions: Dimensions) -> NormalizeConfig:
    """What config.json says; the target becomes as wide as the source."""
    source, target, width = read_names(file, dimensions)
    finish(file, "Normalize")
    dimensions[target] = width
    return NormalizeConfig(source, target)
