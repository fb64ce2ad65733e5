"""Qwen2 (A. Yang et al., 2024), as `transformers.models.qwen2` 5.24.

Llama's layers with biases for queries, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.llama.config import LLAMA, LlamaConfig


@dataclass(frozen=True, kw_only=True)
class Qwen2Config(LlamaConfig):
    """`transformers.Qwen2Config`: the keys that change a token embedding."""

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        return True, False, False


QWEN2 = replace(LLAMA, config=Qwen2Config)
