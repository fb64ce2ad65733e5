"""The decoder matrix, from hidden features to logits, and the head that is only this matrix.

It follows `lm_head` of transformers 5.24.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.architectures.contract import Encoder, Table
from tf_exporter.architectures.head_configs import VocabularyConfig
from tf_exporter.errors import WeightsError
from tf_exporter.heads.base import Head
from tf_exporter.layers.basic import MatrixLayer, variable
from tf_exporter.model.weights import Weights


class VocabularyHead(Head, MatrixLayer):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    is_product = True

    def __init__(self, config: VocabularyConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        embeddings = encoder.token_table
        self.width: int = embeddings.weight.shape[0]
        self.weight = decoder_matrix(weights, embeddings, "lm_head.weight", config.tied)
        self.bias = (
            variable(weights.take("lm_head.bias", (self.width,)), "bias") if config.bias else None
        )

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        flat = tf.reshape(tokens, [-1, tokens.shape[-1]])
        logits = self.transposed_product(flat)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def decoder_matrix(weights: Weights, embeddings: Table, name: str, tied: bool) -> tf.Variable:
    """The matrix `name`, float32 [vocab, width], or the word embeddings if it is missing.

    Raises:
        WeightsError: it is missing, and the config does not tie it to the embeddings.
    """
    if name not in weights:
        if not tied:
            raise WeightsError(
                f"{weights.file}: tensor {name} is missing, and the config does not tie it "
                "to the embeddings"
            )
        return embeddings.weight
    matrix = weights.take(name, tuple(embeddings.weight.shape))
    # transformers keeps a different matrix of the checkpoint, whatever the config says.
    return (
        embeddings.weight
        if np.array_equal(matrix, embeddings.weight.numpy())
        else variable(matrix, "decoder")
    )
