"""ELECTRA (K. Clark et al., 2020), as `transformers.models.electra` 5.24.

BERT with narrower embeddings and a projection.
"""

from __future__ import annotations

from tf_exporter.architectures.bert.encoder import Bert
from tf_exporter.architectures.electra.config import ElectraConfig
from tf_exporter.layers.basic import Linear
from tf_exporter.model.weights import Weights


class Electra(Bert):
    """The ELECTRA encoder: token ids → hidden states."""

    config: ElectraConfig

    def _embedding_size(self) -> int:
        return self.config.embedding_size

    def _project(self, weights: Weights) -> Linear | None:
        width, hidden = self.config.embedding_size, self.config.hidden_size
        return None if width == hidden else Linear(weights, ("embeddings_project",), width, hidden)
