"""Keys and defaults that Qwen2 and Qwen3 of transformers 5.24 share: Llama's, with windows."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.encoder_config import read_layer_types
from tf_exporter.architectures.llama.config import LlamaLayersConfig, Masks, check_window
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class QwenConfig(LlamaLayersConfig):
    """The keys that both models have, with their defaults."""

    default_key_value_heads = 32
    head_size_kinds = (int,)

    vocab_size: int = 151936
    intermediate_size: int = 22016
    max_position_embeddings: int = 32768

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        causal = file.take("is_causal", bool, True)
        window = file.take("sliding_window", (int, type(None)), 4096)
        window = window if file.take("use_sliding_window", bool, False) else None
        first = file.take("max_window_layers", int, 28)
        types = read_layer_types(file, layers, lambda index: window is not None and index >= first)
        check_window(file, window)
        if window is None and "sliding_attention" in types:
            file.refuse(
                file.unsupported(
                    "layer_types", "full_attention only, because there is no sliding window"
                )
            )
        return causal, window, types
