"""Sequence classification heads, for cross-encoders.

They follow the `…ForSequenceClassification` classes of transformers 5.24.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import ClassificationConfig, LastTokenConfig
from tf_exporter.heads.base import Head
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.basic import LayerNorm, Linear
from tf_exporter.model.weights import Weights


class ClassificationHead(Head):
    """float32 tokens [batch, length, hidden] → logits [batch, labels]: pooling and two layers.

    Pooling takes the first token ("cls"), the last place of a row ("last"), the mean of the tokens
    ("mean"), or the mean of the first layer's outputs ("late").
    """

    def __init__(self, config: ClassificationConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        hidden, norm = encoder.hidden_size, config.norm
        self.width = config.labels
        self.dense = (
            Linear(weights, (config.dense,), hidden, hidden, bias=config.dense_bias)
            if config.dense
            else None
        )
        self.norm = (
            None if norm is None else LayerNorm(weights, norm.names[0], hidden, norm.eps, norm.bias)
        )
        self.out = Linear(weights, (config.out,), hidden, self.width)
        self.takes_first, self.takes_last = config.pooling == "cls", config.pooling == "last"
        self._act, self._pooling = TRANSFORMERS_ACTIVATIONS[config.activation], config.pooling

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        if self._pooling == "late":
            rows = self._inner(tf.reshape(tokens, [-1, tokens.shape[-1]]))
            # The last layer is linear, so it can follow the mean.
            return self.out(_mean(tf.reshape(rows, tf.shape(tokens)), attention_mask))
        if self._pooling == "mean":
            return self.out(self._inner(_mean(tokens, attention_mask)))
        return self.out(self._inner(tokens[:, -1 if self._pooling == "last" else 0]))

    def _inner(self, x: tf.Tensor) -> tf.Tensor:
        """The first layer with its activation and norm: [rows, hidden] → [rows, hidden]."""
        x = self._act(x if self.dense is None else self.dense(x))
        return x if self.norm is None else self.norm(x)


def _mean(tokens: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
    mask = tf.cast(attention_mask, tf.float32)
    return tf.reduce_sum(tokens * mask[:, :, tf.newaxis], 1) / tf.reduce_sum(mask, 1, keepdims=True)


class LastTokenHead(Head):
    """float32 tokens [batch, length, hidden] → logits [batch, labels], from the last token.

    The last token is the last one without the config's `pad_token_id`, as in
    `transformers.GenericForSequenceClassification`: padding tokens that the text itself has are
    skipped. In a text of only padding tokens, it is the first one.
    """

    def __init__(self, config: LastTokenConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        self.width = config.labels
        self.score = Linear(weights, ("score",), encoder.hidden_size, self.width, bias=False)
        self.pad_id = config.pad_id

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        position = tf.range(1, tf.shape(input_ids)[1] + 1)
        counts = tf.cast(tf.not_equal(input_ids, self.pad_id), tf.int32)
        # Any other token ranks above all padding tokens, of which the first ranks highest.
        rank = attention_mask * tf.where(
            counts > 0, position + tf.shape(input_ids)[1], tf.reverse(position, [0])
        )
        return self.score(
            tf.gather(tokens, tf.argmax(rank, axis=1, output_type=tf.int32), batch_dims=1)
        )
