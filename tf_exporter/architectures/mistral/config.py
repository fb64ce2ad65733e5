"""Mistral (A. Jiang et al., 2023), as `transformers.models.mistral` 5.24.

Llama's layers without biases, all with a sliding window or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.llama.config import (
    DECODER,
    LlamaLayersConfig,
    Masks,
    read_one_window,
)
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class MistralConfig(LlamaLayersConfig):
    """`transformers.MistralConfig`: the keys that change a token embedding."""

    default_key_value_heads = 8
    null_key_value_heads = False

    intermediate_size: int = 14336
    max_position_embeddings: int = 131_072

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        if "layer_types" in file:
            # The reference takes the model for one of the type "ministral" then, whatever it lists.
            file.refuse(file.unsupported("layer_types", "no such key in a model of this type"))
        return read_one_window(file, layers, 4096)


MISTRAL = replace(DECODER, config=MistralConfig)
