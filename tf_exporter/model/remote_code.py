"""Configs for a model's own code, and their translation to the keys of transformers.

The code itself is never run. transformers would ask for it, or silently use defaults instead of
keys that it does not know. It therefore gets only the translated config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

SIZES = """
    vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act
    layer_norm_eps type_vocab_size max_position_embeddings
"""
"""Keys that have other defaults in transformers' own class."""
_HEADS = (
    "ForMaskedLM",
    "ForPreTraining",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)


@dataclass(frozen=True)
class Translation:
    """The translation of a config.json to the keys of transformers' own class."""

    model_type: str
    """The `model_type` of the configs that it applies to."""
    applies: Callable[[ConfigFile], bool]
    """Whether a config with this `model_type` was written for the model's own code."""
    translate: Callable[[ConfigFile], None]
    """Changes the values of a config in place."""


@dataclass(frozen=True)
class RemoteCode:
    """Code on the Hub, and its names in `auto_map`."""

    repositories: tuple[str, ...]
    classes: tuple[str, ...]

    def check(self, file: ConfigFile) -> None:
        """Removes `auto_map`, and refuses one that names other code.

        Models that were saved with a copy of the code name no repository.
        """
        named = file.values.pop("auto_map", None)
        if named is None:
            return
        values = list(named.values()) if isinstance(named, dict) else [named]
        known = {
            *self.classes,
            *(f"{repository}--{name}" for repository in self.repositories for name in self.classes),
        }
        if any(not isinstance(value, str) or value not in known for value in values):
            raise UnsupportedError(
                file.file,
                "auto_map",
                named,
                f"the code of {' or '.join(self.repositories)}, which is not run",
            )


def classes(configuration: str, modeling: str, *heads: str) -> tuple[str, ...]:
    """The names of classes: the config, the encoder, and the encoder with each head."""
    return (configuration, f"{modeling}Model", *(f"{modeling}{head}" for head in (*_HEADS, *heads)))


def fix(file: ConfigFile, **values: Json) -> None:
    """Requires keys with these values, and removes them: the published code has other defaults."""
    for key in values:
        file.take(
            key,
            type(values[key]) if not isinstance(values[key], float) else (int, float),
            required=True,
        )
    allow(file, **values)


def need(file: ConfigFile, keys: str) -> None:
    """Refuses a config without these keys, as transformers' own class has other defaults."""
    for key in keys.split():
        if key not in file:
            raise InputError(f"{file.file}: key {key!r} is missing")


def allow(file: ConfigFile, **values: Json) -> None:
    """Refuses other values of these keys, and removes the keys."""
    for key, value in values.items():
        file.require(key, (value, int(value)) if isinstance(value, float) else (value,))
        file.values.pop(key, None)


def drop(file: ConfigFile, keys: str) -> None:
    """Removes keys that have no effect."""
    for key in keys.split():
        file.values.pop(key, None)


def rename(file: ConfigFile, published: str, native: str) -> None:
    """Moves a value to another key. If both keys are present, their values must be equal."""
    if published in file:
        value = file.values.pop(published)
        if file.values.setdefault(native, value) != value:
            raise UnsupportedError(file.file, published, value, f"the value of {native}")


def set_rotary(file: ConfigFile, key: str, factor: float | None) -> None:
    """Sets `rope_parameters` from the base in `key` and the factor of the "ntk" scaling, if any.

    In the published code, the frequencies of this scaling are
    (theta · factor)^(−2i/size) / factor^(2/size): transformers' linear scaling with another base.
    """
    # transformers' class would read it before `rope_parameters`; the published code does not.
    allow(file, rope_scaling=None)
    theta = float(file.take(key, (int, float), required=True))
    file.values.pop(key)
    if factor is None:
        native: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    else:
        hidden, heads = (
            file.take(name, int, required=True) for name in ("hidden_size", "num_attention_heads")
        )
        if not 1 <= heads <= hidden:
            raise UnsupportedError(
                file.file, "num_attention_heads", heads, "a positive number, at most hidden_size"
            )
        native = {
            "rope_type": "linear",
            "factor": factor ** (2 * heads / hidden),
            "rope_theta": theta * factor,
        }
    if file.values.setdefault("rope_parameters", native) != native:
        raise UnsupportedError(
            file.file, "rope_parameters", file.values["rope_parameters"], f"{native}, as {key} says"
        )
