"""Reading the keys of config.json for rotary positions, as transformers 5.24 does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import LAYER_TYPES, MOST, ROPE_TYPES, Rope, RopeParameters
from tf_exporter.model.config_file import ConfigFile

_SIZE_KEYS = ("head_dim", "hidden_size", "num_attention_heads")
"""Keys that determine the size of a head."""
_REFUSED = Rope(())
"""A placeholder for rotary positions that were refused."""


def read_rope(file: ConfigFile, key: str, theta: float, positions: int) -> RopeParameters:
    """Reads one set of parameters.

    Args:
        file: the parameters.
        key: the key of `theta` in the config, for messages.
        theta: the base if the parameters have none.
        positions: the config's max_position_embeddings.

    Raises:
        UnsupportedError: a type or a parameter is not supported.
    """
    if not 1 <= positions < MOST:
        raise UnsupportedError(
            file.file, "max_position_embeddings", positions, "a number of at least 1"
        )
    kind = file.take("rope_type", str, file.take("type", str, "default"))
    file.require("type", (kind,))
    if kind not in ROPE_TYPES:
        raise file.unsupported("rope_type" if "rope_type" in file else "type", ROPE_TYPES)
    theta = file.take("rope_theta", (int, float), theta)
    if not 0 < theta < float(np.finfo(np.float32).max):
        raise UnsupportedError(
            file.file, f"{key} or {file.prefix}rope_theta", theta, "a positive number"
        )
    parameters = RopeParameters(
        file.file, f"{file.prefix}{kind}", **ROPE_TYPES[kind](file, float(theta), positions)
    )
    if kind != "proportional":
        # The reference fails for other values, or ignores them.
        file.require("partial_rotary_factor", (1.0, 1))
    # The reference warns of keys that its type does not have, and goes on without them.
    file.finish(reads=LAYER_TYPES.__contains__)
    return parameters


class FlatParameters(NamedTuple):
    """The keys of a config that has one set of parameters for all layers."""

    key: str
    """The key of config.json that has the set."""
    values: dict[str, Any]
    theta: float
    """The base if the set has none."""


def read_flat_parameters(
    file: ConfigFile,
    theta: float,
    default: dict[str, Any] | None = None,
    original: int | None = None,
) -> FlatParameters:
    """Reads the keys of a config that has one set of parameters for all layers.

    They are in `rope_parameters`, or in `rope_scaling` and `rope_theta` of older configs. If both
    have parameters, the reference reads `rope_scaling` alone.

    Args:
        file: config.json.
        theta: the base if the config has none.
        default: the parameters if the config has none.
        original: the `original_max_position_embeddings` beside the set, if the config has none.
    """
    new, old = (file.take(key, (dict, type(None))) for key in ("rope_parameters", "rope_scaling"))
    theta = file.take("rope_theta", (int, float), theta)
    original = file.take("original_max_position_embeddings", int, original)
    values = dict(old or ((default or {}) if new is None else new))
    if old and new and old != new:
        file.ignore("rope_parameters")
    if original is not None and values.get("rope_type", values.get("type")) in (
        "llama3",
        "yarn",
        "longrope",
    ):
        # In the reference, the outer key takes precedence, for the types that have it.
        values["original_max_position_embeddings"] = original
    return FlatParameters("rope_scaling" if old else "rope_parameters", values, theta)


def flat_rope(file: ConfigFile, flat: FlatParameters, positions: int, size: int) -> Rope:
    """The rotary positions of one set of parameters.

    Args:
        file: config.json.
        flat: the parameters.
        positions: the config's max_position_embeddings.
        size: the number of features of a head that are rotated.
    """
    with file.refusing():
        inner = file.part(flat.key, flat.values)
        parameters = read_rope(inner, "rope_theta", flat.theta, positions)
        with file.refusing(*_SIZE_KEYS):
            return parameters.for_head_size(size)
    return _REFUSED


def read_flat_rope(file: ConfigFile, theta: float, positions: int, size: int) -> Rope:
    """The rotary positions of a config that has one set of parameters and rotates whole heads.

    Args:
        file: config.json.
        theta: the base if the config has none.
        positions: the config's max_position_embeddings.
        size: the size of a head.
    """
    file.require("partial_rotary_factor", (1.0, 1, None))
    return flat_rope(file, read_flat_parameters(file, theta), positions, size)


def read_ropes_by_type(
    file: ConfigFile,
    thetas: dict[str, tuple[str, float]],
    positions: int,
    size: int,
    scaled: tuple[str, ...],
) -> dict[str, Rope]:
    """Reads the parameters of a config that has a set for each layer type.

    Args:
        file: config.json.
        thetas: for each layer type, the key of the base in older configs, and its default.
        positions: the config's max_position_embeddings.
        size: the size of a head.
        scaled: the layer types that `rope_scaling` of older configs applies to.
    """
    scaling = file.take("rope_scaling", (dict, type(None))) or {}
    parameters = file.part(
        "rope_parameters", file.take("rope_parameters", (dict, type(None))) or {}
    )
    ropes = {}
    for name, (key, default) in thetas.items():
        # With this default, the reference ignores `type`, the older key; `read_rope` refuses it.
        values = parameters.take(name, (dict, type(None))) or {"rope_type": "default"}
        theta = file.take(key, (int, float), default)
        type_file = parameters.part(name, {**values, **(scaling if name in scaled else {})})
        # The reference reads it next to the layer types, not here.
        type_file.require("truncate", (True,))
        ropes[name] = _REFUSED
        with file.refusing():
            rope = read_rope(type_file, key, theta, positions)
            with file.refusing(*_SIZE_KEYS):
                ropes[name] = rope.for_head_size(size)
    with file.refusing():
        parameters.finish()
    return ropes


def read_required_ropes(
    file: ConfigFile, thetas: dict[str, float], positions: int, sizes: dict[str, int]
) -> dict[str, Rope]:
    """Reads the parameters of a config whose `rope_parameters`, if any, has each layer type.

    Args:
        file: config.json.
        thetas: the base of each layer type in a config without parameters.
        positions: the config's max_position_embeddings.
        sizes: the size of a head for each layer type that a layer has.
    """
    listed = file.take("rope_parameters", (dict, type(None)))
    if listed is None:
        listed = {name: {"rope_theta": theta} for name, theta in thetas.items()}
    parameters = file.part("rope_parameters", listed)
    ropes = dict.fromkeys(sizes, _REFUSED)
    for name, size in sizes.items():
        with file.refusing():
            type_file = parameters.part(name, parameters.take(name, dict, required=True))
            type_file.take("rope_theta", (int, float), required=True)
            # The reference reads it next to the layer types, not here.
            type_file.require("truncate", (True,))
            rope = read_rope(type_file, "rope_theta", thetas[name], positions)
            with file.refusing(*_SIZE_KEYS):
                ropes[name] = rope.for_head_size(size)
    with file.refusing():
        parameters.finish(frozenset(thetas))
    return ropes


def shortest(ropes: Iterable[Rope]) -> int | None:
    """The smallest `max_length`, in tokens; None: none of them has one."""
    return min((rope.max_length for rope in ropes if rope.max_length is not None), default=None)
