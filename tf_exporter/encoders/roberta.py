"""RoBERTa (Y. Liu et al., 2019), XLM-RoBERTa and CamemBERT, as in transformers 5.23: BERT with positions from the ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import tensorflow as tf

from tf_exporter.encoders.attention import positions_of_tokens
from tf_exporter.encoders.bert import UNUSED, Bert, BertConfig
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


@dataclass(frozen=True)
class XLMRobertaConfig(BertConfig):
    """`transformers.XLMRobertaConfig`, and `CamembertConfig`: the keys that change a token embedding."""

    pad_token_id: int = field(default=1, metadata={"least": 0})


@dataclass(frozen=True)
class RobertaConfig(XLMRobertaConfig):
    """`transformers.RobertaConfig`: the keys that change a token embedding."""

    vocab_size: int = 50265


class Roberta(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: XLMRobertaConfig
    config_class: type[XLMRobertaConfig] = RobertaConfig
    prefix = "roberta"
    unused = (*UNUSED, r"lm_head\..*")

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__(file, weights)
        # Positions start behind that of padding.
        self.max_length = self.max_position_embeddings - self.config.pad_token_id - 1
        if self.max_length < 1:
            raise UnsupportedError(file.file, "pad_token_id", self.config.pad_token_id, "less than max_position_embeddings − 1")

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`."""
        return pad_id != self.config.pad_token_id

    def positions(self, input_ids: tf.Tensor) -> tf.Tensor:
        """As in `Bert`."""
        return self.position_embeddings(positions_of_tokens(input_ids, self.config.pad_token_id))


class XLMRoberta(Roberta):
    """The same, with other defaults in its config."""

    config_class = XLMRobertaConfig
