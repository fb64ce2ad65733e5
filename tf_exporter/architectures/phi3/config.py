"""Phi-3 (M. Abdin et al., 2024), as `transformers.models.phi3` 5.24.

Mistral's layers with fused matrices, which may rotate only a part of each head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.head_configs import last_token
from tf_exporter.architectures.llama.config import (
    DECODER,
    THETA,
    LlamaLayersConfig,
    Masks,
    read_one_window,
)
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import Rope, Temperature
from tf_exporter.layers.rope_keys import FlatParameters, flat_rope, read_flat_parameters
from tf_exporter.model.config_file import ConfigFile

_ORIGINAL = "original_max_position_embeddings"
_LENGTH = 4096
"""The default of `original_max_position_embeddings`."""
_SHARE = "partial_rotary_factor"
_TYPES = {"default": "default", "longrope": "longrope", "yarn": "longrope", "su": "longrope"}
"""Types of rotary positions, and what the reference makes of them."""
_NOTES = {
    "attention_bias": False,
    "mlp_bias": False,
    "lm_head_bias": False,
    "full_attn_mod": 1,
    "interpolate_factor": 1,
}
"""Keys of published configs, which only the models' own code may read, without effect there."""


@dataclass(frozen=True, kw_only=True)
class Phi3Config(LlamaLayersConfig):
    """`transformers.Phi3Config`: the keys that change a token embedding."""

    # The config class has no such key, but the model reads it.
    head_size_kinds = (int,)
    fused = True

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        for key, value in _NOTES.items():
            if key in file and file.values[key] == value:
                file.ignore(key)
        return read_one_window(file, layers, None)

    @classmethod
    def _read_positions(
        cls, file: ConfigFile, positions: int, size: int
    ) -> tuple[Rope, Temperature | None]:
        share = file.take(_SHARE, (int, float), 1.0)
        flat = _known_type(file, read_flat_parameters(file, THETA, original=_LENGTH))
        inner = flat.values.pop(_SHARE, share)
        if type(inner) not in (int, float) or not 0 < inner <= 1 or int(size * inner) < 2:
            key = f"{flat.key}.{_SHARE}" if inner is not share else _SHARE
            supported = "a number up to 1 that rotates at least 2 features of each head"
            file.refuse(UnsupportedError(file.file, key, inner, supported), "head_dim")
            inner = 1.0
        return flat_rope(file, flat, positions, int(size * inner)), None


def _known_type(file: ConfigFile, flat: FlatParameters) -> FlatParameters:
    """The parameters with the type that the reference makes of theirs."""
    values = dict(flat.values)
    name = "rope_type" if "rope_type" in values else "type"
    kind = values.get(name, "default")
    if not isinstance(kind, str) or kind not in _TYPES:
        file.refuse(UnsupportedError(file.file, f"{flat.key}.{name}", kind, _TYPES))
        return flat._replace(values={})
    if kind == "su" and _ORIGINAL not in values:
        # The reference fails, although it then reads the outer key instead.
        supported = "a number, which the type su needs"
        file.refuse(UnsupportedError(file.file, f"{flat.key}.{_ORIGINAL}", None, supported))
        return flat._replace(values={})
    if kind == "su":
        # Only for the other types, `read_flat_parameters` has put the outer key there.
        values[_ORIGINAL] = file.values.get(_ORIGINAL, _LENGTH)
    values.pop("type", None)
    return flat._replace(values={**values, "rope_type": _TYPES[kind]})


PHI3 = replace(
    DECODER,
    config=Phi3Config,
    ignored=frozenset({"resid_pdrop", "embd_pdrop"}),
    classifier=last_token(32000),
)
