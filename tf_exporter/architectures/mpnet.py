"""MPNet (K. Song et al., 2020), as `transformers.models.mpnet` 5.23: BERT's layers with shared relative positions."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert import ONLY_CHECKED, LayersConfig
from tf_exporter.architectures.roberta import roberta_classifier, roberta_masked_lm

PADDING_INDEX = 1
"""Fixed in the reference, whatever the config's pad_token_id: tokens of this id have position 1, the rest 2, 3, …"""
BUCKETS = 32
"""What the reference computes, whatever the config says."""


@dataclass(frozen=True)
class MPNetConfig(LayersConfig):
    """`transformers.MPNetConfig`: the keys that change a token embedding."""

    vocab_size: int = 30527
    relative_attention_num_buckets: int = field(default=32, metadata={"least": BUCKETS})

    @property
    def max_length(self) -> int | None:
        """Tokens that a text may have. Their positions start behind that of padding."""
        return self.max_position_embeddings - PADDING_INDEX - 1

    def counts_padding(self, pad_id: int) -> bool:
        """Whether padding on the left, with this id, gives the tokens other positions."""
        return pad_id != PADDING_INDEX


MPNET = Architecture(
    config=MPNetConfig,
    prefix="mpnet",
    unused=(r"(.*\.)?embeddings\.position_ids", r"pooler\..*", r"lm_head\..*", r"classifier\..*", r"qa_outputs\..*"),
    ignored=ONLY_CHECKED,
    collects_layers=True,
    classifier=roberta_classifier,
    masked_lm=roberta_masked_lm,
)
