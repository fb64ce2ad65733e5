"""Reads the configs of all modules of a pipeline, before anything is built of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from tf_exporter.errors import Refusals, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules import MODULE_CONFIGS
from tf_exporter.model.modules.dimensions import Dimensions


class Module(Protocol):
    """A module of a pipeline, as `tf_exporter.spec.ModuleSpec`."""

    @property
    def kind(self) -> str:
        """Its class."""

    @property
    def config(self) -> ConfigFile:
        """Its own config."""


def read_module(module: Module, dimensions: Dimensions) -> object:
    """The config of a module, any but a Transformer; `dimensions` become those behind it.

    Raises:
        InputError: a key is missing.
        UnsupportedError: all reasons for which the module is refused.
    """
    try:
        return MODULE_CONFIGS[module.kind](module.config, dimensions)
    except UnsupportedError as error:
        # Together with the reasons that were found before.
        for reason in error.reasons:
            module.config.refuse(reason)
        module.config.check()
        raise


def check_modules(modules: Iterable[Module], encoder: Mapping[str, int | None]) -> Dimensions:
    """Reads the configs of the modules of a pipeline, and gives the dimensions behind the last.

    Args:
        modules: in their order.
        encoder: the features that a Transformer at the start makes, and the width of each, None
            where it is not known.

    Raises:
        InputError: a key is missing.
        UnsupportedError: all reasons for which the modules are refused.
    """
    dimensions, refusals = Dimensions(), Refusals()
    for module in modules:
        if module.kind not in MODULE_CONFIGS:
            dimensions.update(encoder)
            continue
        found = dimensions.copy()
        found.lose()
        with refusals.part():
            read_module(module, dimensions)
            found = dimensions
        dimensions = found
    refusals.check()
    return dimensions
