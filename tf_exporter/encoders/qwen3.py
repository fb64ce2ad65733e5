"""Qwen3 (A. Yang et al., 2025), as `transformers.models.qwen3` 5.23: Llama's layout with norms of queries and keys."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class Qwen3Config(LlamaConfig):
    """`transformers.Qwen3Config`: the keys that change a token embedding."""

    attention_bias: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """As the base."""
        return self.attention_bias, self.attention_bias, False


class Qwen3(Llama):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = Qwen3Config
    head_size = 128
    norms_heads = True
