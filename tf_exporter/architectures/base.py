"""The base class of encoders."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.encoder_config import EncoderConfig
from tf_exporter.layers.basic import Embedding


class BaseEncoder(tf.Module):
    """An `Encoder` without layers."""

    config: EncoderConfig

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        raise NotImplementedError

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        raise NotImplementedError
