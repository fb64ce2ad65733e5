"""ERNIE (Y. Sun et al., 2020), as `transformers.models.ernie` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.architectures.bert.config import BERT, BertConfig


@dataclass(frozen=True)
class ErnieConfig(BertConfig):
    """`transformers.ErnieConfig`: the keys that change a token embedding."""

    task_type_vocab_size: int = 3
    use_task_id: bool = False


ERNIE = replace(
    BERT,
    config=ErnieConfig,
    encoder="tf_exporter.architectures.ernie.encoder:Ernie",
    prefix="ernie",
)
