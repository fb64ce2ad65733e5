"""ELECTRA (K. Clark et al., 2020), as `transformers.models.electra` 5.23: BERT with narrower embeddings, projected."""

from __future__ import annotations

from tf_exporter.architectures.electra import ElectraConfig
from tf_exporter.encoders.bert import Bert
from tf_exporter.encoders.blocks import Linear
from tf_exporter.weights import Weights


class Electra(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: ElectraConfig

    def _embedding_size(self) -> int:
        return self.config.embedding_size

    def _project(self, weights: Weights) -> Linear | None:
        width, hidden = self.config.embedding_size, self.config.hidden_size
        return None if width == hidden else Linear(weights, ("embeddings_project",), width, hidden)
