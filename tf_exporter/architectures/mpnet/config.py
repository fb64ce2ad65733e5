"""MPNet (K. Song et al., 2020), as `transformers.models.mpnet` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.architectures.architecture import Architecture, Dropout
from tf_exporter.architectures.bert.config import ONLY_CHECKED, LayersConfig
from tf_exporter.architectures.roberta.config import roberta_classifier, roberta_masked_lm

PADDING_INDEX = 1
"""The padding id, a constant in the reference, which ignores pad_token_id.

Tokens with this id have position 1, other tokens have 2, 3, …
"""
BUCKETS = 32
"""The number of buckets, a constant in the reference."""


@dataclass(frozen=True)
class MPNetConfig(LayersConfig):
    """`transformers.MPNetConfig`: the keys that change a token embedding."""

    vocab_size: int = 30527
    relative_attention_num_buckets: int = field(default=32, metadata={"least": BUCKETS})

    @property
    def max_length(self) -> int | None:
        # Positions start after the padding's.
        return self.max_position_embeddings - PADDING_INDEX - 1

    def counts_padding(self, pad_id: int) -> bool:
        return pad_id != PADDING_INDEX


MPNET = Architecture(
    config=MPNetConfig,
    encoder="tf_exporter.architectures.mpnet.encoder:MPNet",
    prefix="mpnet",
    dropout=Dropout(),
    pooler="pooler.dense",
    unused=(
        r"(.*\.)?embeddings\.position_ids",
        r"pooler\..*",
        r"lm_head\..*",
        r"classifier\..*",
        r"qa_outputs\..*",
    ),
    ignored=ONLY_CHECKED,
    classifier=roberta_classifier,
    masked_lm=roberta_masked_lm,
)
