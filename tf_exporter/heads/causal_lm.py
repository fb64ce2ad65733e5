"""Causal language model heads: the logits of the token after a text, for LogitScore.

They follow the `…ForCausalLM` classes of transformers 5.24 with `logits_to_keep=1`. Rows are padded
on the left.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import CausalLMConfig, VocabularyConfig
from tf_exporter.heads.decoder import VocabularyHead
from tf_exporter.model.weights import Weights


class CausalLMHead(VocabularyHead):
    """float32 tokens [batch, length, hidden] → logits [batch, 1, vocab]."""

    def __init__(self, config: CausalLMConfig, weights: Weights, encoder: Encoder):
        super().__init__(VocabularyConfig(config.tied, bias=False), weights, encoder)
        self._softcap = config.softcap

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        logits = super().__call__(tokens[:, -1:], attention_mask, input_ids)
        return logits if self._softcap is None else tf.tanh(logits / self._softcap) * self._softcap
