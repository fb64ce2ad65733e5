"""Qwen3 (A. Yang et al., 2025), as `transformers.models.qwen3` 5.24.

Llama's layers with norms of queries and keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.llama.config import DECODER
from tf_exporter.architectures.qwen.config import QwenConfig
from tf_exporter.architectures.task_adapters import KEY


@dataclass(frozen=True, kw_only=True)
class Qwen3Config(QwenConfig):
    """`transformers.Qwen3Config`: the keys that change a token embedding."""

    default_head_size = 128
    norms_heads = True

    attention_bias: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        return self.attention_bias, self.attention_bias, False


QWEN3 = replace(DECODER, config=Qwen3Config, ignored=frozenset({KEY}))
