"""The config of Normalize."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions, read_names


@dataclass(frozen=True)
class NormalizeConfig:
    """The feature that is scaled to unit length."""

    source: str
    """The feature that is read."""
    target: str
    """The feature that is written."""


def read(file: ConfigFile, dimensions: Dimensions) -> NormalizeConfig:
    """Reads config.json; the target becomes as wide as the source."""
    source, target, width = read_names(file, dimensions)
    finish(file, "Normalize")
    dimensions[target] = width
    return NormalizeConfig(source, target)
