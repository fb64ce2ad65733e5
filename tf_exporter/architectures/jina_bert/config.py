"""JinaBERT (M. Günther et al., 2023), as published; transformers 5.24 has no class for it.

BERT with ALiBi in place of position embeddings, and gated feed-forward. Its `model_type` is "bert".
"""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import UNUSED, BertConfig
from tf_exporter.architectures.encoder_config import check_heads, check_name
from tf_exporter.architectures.jina_bert.remote_code import JINA
from tf_exporter.model.config_file import ConfigFile

_ACTIVATIONS = {"geglu": "gelu", "reglu": "relu"}


@dataclass(frozen=True)
class JinaBertConfig(BertConfig):
    """The published `JinaBertConfig`: the keys that change a token embedding."""

    feed_forward_type: str = "original"

    @property
    def activation(self) -> str:
        """The activation of the gate."""
        return _ACTIVATIONS[self.feed_forward_type]

    @property
    def max_length(self) -> int | None:
        return None

    def counts_padding(self, pad_id: int) -> bool:
        return False  # only distances matter

    def check(self, file: ConfigFile) -> None:
        check_name(file, "feed_forward_type", self.feed_forward_type, _ACTIVATIONS)
        check_heads(file, self.hidden_size, self.num_attention_heads)


JINA_BERT = Architecture(
    config=JinaBertConfig,
    encoder="tf_exporter.architectures.jina_bert.encoder:JinaBert",
    prefix="bert",
    adapters=False,
    remote_code=(JINA,),
    known_as="bert",
    unused=UNUSED,
    verified=False,
)
