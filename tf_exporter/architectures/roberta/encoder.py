"""RoBERTa (Y. Liu et al., 2019), XLM-RoBERTa and CamemBERT, as in transformers 5.24.

BERT whose positions depend on the padding id.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.bert.encoder import Bert
from tf_exporter.architectures.roberta.config import XLMRobertaConfig
from tf_exporter.layers.attention import positions_of_tokens


class Roberta(Bert):
    """The RoBERTa encoder: token ids → hidden states."""

    config: XLMRobertaConfig

    def positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        return self.position_embeddings(positions_of_tokens(input_ids, self.config.pad_token_id))
