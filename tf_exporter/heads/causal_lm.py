"""Causal language model heads: the scores of every token as the next one, behind the last place only, as LogitScore asks for.

As the `…ForCausalLM` classes of transformers 5.23, with `logits_to_keep=1`. Rows are padded on the left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_exporter.encoders.blocks import Embedding
from tf_exporter.heads.decoder import VocabularyHead
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


class CausalLMHead(VocabularyHead):
    """float32 tokens [batch, length, hidden] → logits [batch, 1, vocab]."""

    def __init__(self, file: ConfigFile, weights: Weights, embeddings: Embedding, *, tied: bool, softcap: float | None = None):
        """`softcap`: what logits stay below."""
        super().__init__(file, weights, embeddings, tied=tied)
        self._softcap = softcap

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        logits = super().__call__(tokens[:, -1:], attention_mask, input_ids)
        return logits if self._softcap is None else tf.tanh(logits / self._softcap) * self._softcap


def _qwen(file: ConfigFile, weights: Weights, encoder: Any) -> CausalLMHead:
    return CausalLMHead(file, weights, encoder.embed_tokens, tied=False)


def _gemma3(file: ConfigFile, weights: Weights, encoder: Any) -> CausalLMHead:
    softcap = file.take("final_logit_softcapping", (float, type(None)))
    if softcap is not None and not softcap > 0:
        raise file.unsupported("final_logit_softcapping", "a positive number, or null")
    return CausalLMHead(file, weights, encoder.embed_tokens, tied=True, softcap=softcap)


CAUSAL_LM_HEADS: dict[str, Callable[[ConfigFile, Weights, Any], CausalLMHead]] = {
    "gemma3_text": _gemma3,
    "qwen2": _qwen,
    "qwen3": _qwen,
}
