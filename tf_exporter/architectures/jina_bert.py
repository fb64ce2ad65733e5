"""JinaBERT (M. Günther et al., 2023), as published for `model_type` "bert" with ALiBi: gated, without embeddings of positions.

transformers has no class for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert import UNUSED, BertConfig
from tf_exporter.architectures.config import check_heads, check_name
from tf_exporter.model.config_file import ConfigFile

_ACTIVATIONS = {"geglu": "gelu", "reglu": "relu"}


@dataclass(frozen=True)
class JinaBertConfig(BertConfig):
    """The published `JinaBertConfig`: the keys that change a token embedding."""

    feed_forward_type: str = "original"

    @property
    def activation(self) -> str:
        """Of the gate."""
        return _ACTIVATIONS[self.feed_forward_type]

    @property
    def max_length(self) -> int | None:
        """Any number of tokens."""
        return None

    def counts_padding(self, pad_id: int) -> bool:
        """Only distances matter."""
        return False

    def check(self, file: ConfigFile) -> None:
        """Refuses values that are not reproduced together."""
        check_name(file, "feed_forward_type", self.feed_forward_type, _ACTIVATIONS)
        check_heads(file, self.hidden_size, self.num_attention_heads)


JINA_BERT = Architecture(config=JinaBertConfig, prefix="bert", unused=UNUSED, verified=False)
