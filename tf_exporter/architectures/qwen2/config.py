"""Qwen2 (A. Yang et al., 2024), as `transformers.models.qwen2` 5.24.

Llama's layers with biases for queries, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.llama.config import DECODER
from tf_exporter.architectures.qwen.config import QwenConfig


@dataclass(frozen=True, kw_only=True)
class Qwen2Config(QwenConfig):
    """`transformers.Qwen2Config`: the keys that change a token embedding."""

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        return True, False, False


QWEN2 = replace(DECODER, config=Qwen2Config)
