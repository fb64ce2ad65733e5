"""Masked language model heads: a score for every token of the vocabulary at every place; what SPLADE models pool.

As the `…ForMaskedLM` classes of transformers 5.23. The last product has the word embeddings for its matrix, unless the checkpoint
has another one. `decoder.py` has that matrix, and the heads that are nothing else.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.heads import MaskedLMConfig
from tf_exporter.encoders.blocks import LayerNorm, Linear, product, variable
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.heads.decoder import decoder_matrix
from tf_exporter.weights import Weights


class MaskedLMHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    takes_first = False

    def __init__(self, config: MaskedLMConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        embeddings, hidden = encoder.token_table, encoder.hidden_size
        vocab_size, width = embeddings.weight.shape
        self.width: int = vocab_size
        features = width if config.rest is None else hidden
        biased = not config.biases_may_lack or _has_biases(weights, config)
        self.dense = Linear(weights, (config.dense,), hidden, features, bias=config.dense_bias and biased)
        norm = next((name for name in config.norm.names if f"{name}.weight" in weights), config.norm.names[0])
        self.norm = LayerNorm(weights, norm, features, config.norm.eps, config.norm.bias)
        self._act = TRANSFORMERS_ACTIVATIONS[config.activation]
        self.decoder = embeddings.weight
        if config.decoder is not None:
            self.decoder = decoder_matrix(weights, embeddings, f"{config.decoder}.weight", config.tied)
        if config.rest is not None:
            columns = weights.take(f"{config.rest}.weight", (hidden - width, vocab_size)).T
            self.decoder = variable(np.concatenate([self.decoder.numpy(), columns], 1), "decoder")
        self.bias = None
        if config.decoder_bias and biased:
            self.bias = variable(_bias(weights, config.decoder, config.bias, vocab_size, config.tied), "bias")

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        flat = self.norm(self._act(self.dense(tf.reshape(tokens, [-1, tokens.shape[-1]]))))
        logits = product(flat, self.decoder, transpose_b=True)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def _bias(weights: Weights, decoder: str | None, alone: str | None, vocab_size: int, tied: bool) -> np.ndarray:
    """That of the decoder; or the one that stands alone, where the config ties them and the checkpoint has no other."""
    if decoder is None:
        assert alone is not None
        return weights.take(alone, (vocab_size,))
    name = f"{decoder}.bias"
    if name in weights:
        if alone is not None and alone in weights:
            weights.take(alone, (vocab_size,))  # the same, or else not used
    elif alone is not None and tied:
        name = alone
    return weights.take(name, (vocab_size,))


def _has_biases(weights: Weights, config: MaskedLMConfig) -> bool:
    return any(name in weights for name in (f"{config.dense}.bias", f"{config.decoder}.bias", config.bias) if name)
