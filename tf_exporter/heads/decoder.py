"""The matrix from hidden features to scores of tokens, and heads that are only that: `lm_head` of transformers 5.23."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.heads import VocabularyConfig
from tf_exporter.encoders.blocks import Embedding, product, variable
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.errors import WeightsError
from tf_exporter.weights import Weights


class VocabularyHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    takes_first = False

    def __init__(self, config: VocabularyConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        embeddings = encoder.token_table
        self.width: int = embeddings.weight.shape[0]
        self.decoder = decoder_matrix(weights, embeddings, "lm_head.weight", config.tied)
        self.bias = variable(weights.take("lm_head.bias", (self.width,)), "bias") if config.bias else None

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        logits = product(tf.reshape(tokens, [-1, tokens.shape[-1]]), self.decoder, transpose_b=True)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def decoder_matrix(weights: Weights, embeddings: Embedding, name: str, tied: bool) -> tf.Variable:
    """float32 [vocab, width]: the embeddings, where the config ties it to them and the checkpoint has no other."""
    if name not in weights:
        if not tied:
            raise WeightsError(f"{weights.file}: tensor {name} is missing, and the config does not tie it to the embeddings")
        return embeddings.weight
    matrix = weights.take(name, tuple(embeddings.weight.shape))
    # As transformers does whatever the config says, where a checkpoint has two different ones.
    return embeddings.weight if np.array_equal(matrix, embeddings.weight.numpy()) else variable(matrix, "decoder")
