"""Masked language model heads: logits of the vocabulary at each position, for SPLADE.

They follow the `…ForMaskedLM` classes of transformers 5.24. The last matrix is the word embeddings,
unless the checkpoint has another one: see `decoder.py`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import MaskedLMConfig
from tf_exporter.heads.base import Head
from tf_exporter.heads.decoder import decoder_matrix
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.basic import LayerNorm, Linear, MatrixLayer, variable
from tf_exporter.model.weights import Weights


class MaskedLMHead(Head, MatrixLayer):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    is_product = True

    def __init__(self, config: MaskedLMConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        embeddings, hidden = encoder.token_table, encoder.hidden_size
        vocab_size, width = embeddings.weight.shape
        self.width: int = vocab_size
        features = width if config.rest is None else hidden
        biased = not config.biases_may_lack or _has_biases(weights, config)
        self.dense = Linear(
            weights, (config.dense,), hidden, features, bias=config.dense_bias and biased
        )
        norm = next(
            (name for name in config.norm.names if f"{name}.weight" in weights),
            config.norm.names[0],
        )
        self.norm = LayerNorm(weights, norm, features, config.norm.eps, config.norm.bias)
        self._act = TRANSFORMERS_ACTIVATIONS[config.activation]
        self.weight = embeddings.weight
        if config.decoder is not None:
            self.weight = decoder_matrix(
                weights, embeddings, f"{config.decoder}.weight", config.tied
            )
        if config.rest is not None:
            columns = weights.take(f"{config.rest}.weight", (hidden - width, vocab_size)).T
            self.weight = variable(np.concatenate([self.weight.numpy(), columns], 1), "decoder")
        self.bias = None
        if config.decoder_bias and biased:
            self.bias = variable(
                _bias(weights, config.decoder, config.bias, vocab_size, config.tied), "bias"
            )

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        flat = self.norm(self._act(self.dense(tf.reshape(tokens, [-1, tokens.shape[-1]]))))
        logits = self.transposed_product(flat)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def _bias(
    weights: Weights, decoder: str | None, alone: str | None, vocab_size: int, tied: bool
) -> np.ndarray:
    """The decoder's bias; the bias `alone` if only that exists and the config ties them."""
    if decoder is None:
        assert alone is not None
        return weights.take(alone, (vocab_size,))
    name = f"{decoder}.bias"
    if name in weights:
        if alone is not None and alone in weights:
            weights.take(alone, (vocab_size,))  # a copy, or unused
    elif alone is not None and tied:
        name = alone
    return weights.take(name, (vocab_size,))


def _has_biases(weights: Weights, config: MaskedLMConfig) -> bool:
    return any(
        name in weights
        for name in (f"{config.dense}.bias", f"{config.decoder}.bias", config.bias)
        if name
    )
