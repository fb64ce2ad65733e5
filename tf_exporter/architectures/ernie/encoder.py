"""ERNIE (Y. Sun et al., 2020), as `transformers.models.ernie` 5.24.

BERT with an embedding of the task, which is always task 0.
"""

from __future__ import annotations

from tf_exporter.architectures.bert.encoder import Bert
from tf_exporter.architectures.ernie.config import ErnieConfig
from tf_exporter.model.weights import Weights


class Ernie(Bert):
    """The ERNIE encoder: token ids → hidden states."""

    def __init__(self, config: ErnieConfig, weights: Weights):
        super().__init__(config, weights)
        if config.use_task_id:
            shape = (config.task_type_vocab_size, config.hidden_size)
            task = weights.take("embeddings.task_type_embeddings.weight", shape)[0]
            self.token_type_embeddings.weight.assign_add(
                task[None].repeat(config.type_vocab_size, 0)
            )
