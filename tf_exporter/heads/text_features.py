"""The embedding of a text from its end, as `CLIPModel.get_text_features` of transformers 5.24."""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import TextFeaturesConfig
from tf_exporter.heads.base import Head
from tf_exporter.layers.basic import Linear
from tf_exporter.model.weights import Weights


class TextFeaturesHead(Head):
    """float32 tokens [batch, length, hidden] → embeddings [batch, width], a product without bias.

    The end of a text is the first token with the config's id, even if the text itself has one. If
    there is none, it is the first token. Without such an id, it is the first of the tokens with the
    highest id.
    """

    def __init__(self, config: TextFeaturesConfig, weights: Weights, encoder: Encoder):
        super().__init__()
        self.width = config.width
        self.projection = Linear(
            weights, (config.projection,), encoder.hidden_size, config.width, bias=False
        )
        self.end_id = config.end_id

    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        ranks = (
            input_ids + 1
            if self.end_id is None
            else tf.cast(tf.equal(input_ids, self.end_id), tf.int32)
        )
        end = tf.argmax(ranks * attention_mask, axis=1, output_type=tf.int32)
        return self.projection(tf.gather(tokens, end, batch_dims=1))

    def takes_padding(self, pad_id: int, always: Collection[int]) -> bool:
        if self.end_id is None:
            return pad_id > max(always, default=-1)
        return pad_id == self.end_id and pad_id not in always
