"""Reads the configs of all modules of a pipeline, before any module is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from tf_exporter.errors import Refusals, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.configs import INLINE_CONFIGS, MODULE_CONFIGS
from tf_exporter.modules.dimensions import Dimensions

_READERS = {**MODULE_CONFIGS, **INLINE_CONFIGS}


class Module(Protocol):
    """A module of a pipeline, as `tf_exporter.modules.spec.ModuleSpec`."""

    @property
    def kind(self) -> str:
        """The name of its class."""

    @property
    def config(self) -> ConfigFile:
        """Its own config."""


def read_module(module: Module, dimensions: Dimensions) -> object:
    """Reads the config of a module other than a Transformer.

    It updates `dimensions` to those after the module.

    Raises:
        InputError: a key is missing.
        UnsupportedError: all reasons to refuse the module.
    """
    try:
        return _READERS[module.kind](module.config, dimensions)
    except UnsupportedError as error:
        # Raised together with the reasons that the config has kept.
        for reason in error.reasons:
            module.config.refuse(reason)
        module.config.check()
        raise


def check_modules(modules: Iterable[Module], encoder: Mapping[str, int | None]) -> Dimensions:
    """Reads the configs of the modules of a pipeline; returns the dimensions after the last one.

    Args:
        modules: in their order.
        encoder: the width of each feature that a Transformer at the start makes; None where it is
            not known.

    Raises:
        InputError: a key is missing.
        UnsupportedError: all reasons to refuse the modules.
    """
    dimensions, refusals = Dimensions(), Refusals()
    for module in modules:
        if module.kind not in _READERS:
            dimensions.update(encoder)
            continue
        after = dimensions.copy()
        after.forget()
        with refusals.part():
            read_module(module, dimensions)
            after = dimensions
        dimensions = after
    refusals.check()
    return dimensions
