"""ELECTRA (K. Clark et al., 2020), as `transformers.models.electra` 5.23: BERT with narrower embeddings, projected."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.bert import UNUSED, Bert, BertConfig
from tf_exporter.encoders.blocks import Linear
from tf_exporter.weights import Weights


@dataclass(frozen=True)
class ElectraConfig(BertConfig):
    """`transformers.ElectraConfig`: the keys that change a token embedding."""

    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    embedding_size: int = 128


class Electra(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: ElectraConfig
    config_class = ElectraConfig
    prefix = "electra"
    unused = (*UNUSED, r"discriminator_predictions\..*", r"generator_predictions\..*", r"generator_lm_head\..*")

    def _embedding_size(self) -> int:
        return self.config.embedding_size

    def _project(self, weights: Weights) -> Linear | None:
        width, hidden = self.config.embedding_size, self.config.hidden_size
        return None if width == hidden else Linear(weights, ("embeddings_project",), width, hidden)
