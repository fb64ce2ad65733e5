"""What all encoders have in common."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.config import EncoderConfig
from tf_exporter.encoders.blocks import Embedding


class Encoder(tf.Module):
    """Base of encoders: token ids → token embeddings [batch, length, hidden_size]."""

    config: EncoderConfig

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        raise NotImplementedError
