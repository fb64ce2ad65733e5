"""Ministral 3 (Mistral AI, 2025), as `transformers.models.ministral3` 5.24.

Mistral's layers, with a factor of queries that grows with their position, as in Llama 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tf_exporter.architectures.head_configs import last_token
from tf_exporter.architectures.llama.config import DECODER, THETA, Masks, read_one_window
from tf_exporter.architectures.mistral.config import MistralConfig
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import Rope, Temperature
from tf_exporter.layers.rope_keys import flat_rope, read_flat_parameters
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

_DEFAULT: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 1_000_000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}
"""The parameters of a config without any."""
_MOST_BETA = 1e6
_ORIGINAL = "original_max_position_embeddings"


@dataclass(frozen=True, kw_only=True)
class Ministral3Config(MistralConfig):
    """`transformers.Ministral3Config`: the keys that change a token embedding."""

    default_head_size = 128
    head_size_kinds = (int,)

    vocab_size: int = 131_072
    num_hidden_layers: int = 34
    max_position_embeddings: int = 262_144
    rms_norm_eps: float = 1e-5

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        return read_one_window(file, layers, None)

    @property
    def leaks_beyond(self) -> int | None:
        # From there on, padding on the left changes the factors of the tokens.
        return None if self.temperature is None else self.temperature.length

    @classmethod
    def _read_positions(
        cls, file: ConfigFile, positions: int, size: int
    ) -> tuple[Rope, Temperature | None]:
        file.require("partial_rotary_factor", (1.0, 1, None))
        flat = read_flat_parameters(file, THETA, _DEFAULT)
        values = flat.values
        beta = values.pop("llama_4_scaling_beta", None)
        # The reference has this key here as a note.
        values.pop("max_position_embeddings", None)
        if values.get("rope_type", values.get("type")) in ("llama3", "yarn", "longrope"):
            length = values.get(_ORIGINAL, positions)
        else:
            length = values.pop(_ORIGINAL, None)
        return flat_rope(file, flat, positions, size), _temperature(file, flat.key, beta, length)


def _temperature(file: ConfigFile, place: str, beta: Json, length: Json) -> Temperature | None:
    """The factors of queries. The reference fails where one of the two numbers is missing.

    `place`: the key of the parameters.
    """
    if type(beta) not in (int, float) or not 0 <= beta < _MOST_BETA:
        key, value, supported = "llama_4_scaling_beta", beta, f"a number from 0 to {_MOST_BETA:g}"
    elif type(length) is not int or length < 1:
        key, value, supported = _ORIGINAL, length, "a number of at least 1"
    else:
        return Temperature(float(beta), length) if beta else None
    file.refuse(UnsupportedError(file.file, f"{place}.{key}", value, supported))
    return None


MINISTRAL3 = replace(DECODER, config=Ministral3Config, classifier=last_token(11))
