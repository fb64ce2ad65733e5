"""Qwen2 (A. Yang et al., 2024), as `transformers.models.qwen2` 5.23: Llama's layout with biases of queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """`transformers.Qwen2Config`: the keys that change a token embedding."""

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """As the base."""
        return True, False, False


class Qwen2(Llama):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = Qwen2Config
