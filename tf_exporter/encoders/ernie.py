"""ERNIE (Y. Sun et al., 2020), as `transformers.models.ernie` 5.23: BERT with an embedding of the task, which is always 0."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.bert import Bert, BertConfig
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


@dataclass(frozen=True)
class ErnieConfig(BertConfig):
    """`transformers.ErnieConfig`: the keys that change a token embedding."""

    task_type_vocab_size: int = 3
    use_task_id: bool = False


class Ernie(Bert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config: ErnieConfig
    config_class = ErnieConfig
    prefix = "ernie"

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__(file, weights)
        if self.config.use_task_id:
            shape = (self.config.task_type_vocab_size, self.hidden_size)
            task = weights.take("embeddings.task_type_embeddings.weight", shape)[0]
            self.token_type_embeddings.weight.assign_add(task[None].repeat(self.type_vocab_size, 0))
