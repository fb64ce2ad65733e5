"""RoBERTa (Y. Liu et al., 2019), XLM-RoBERTa and CamemBERT, as in transformers 5.23: BERT with positions from the ids."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.roberta import XLMRobertaConfig
from tf_exporter.encoders.attention import positions_of_tokens
from tf_exporter.encoders.bert import Bert


class Roberta(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: XLMRobertaConfig

    def positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        """As in `Bert`."""
        return self.position_embeddings(positions_of_tokens(input_ids, self.config.pad_token_id))
