"""BERT with rotary positions: the base of NomicBERT, GTE and Jina embeddings v3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import Self

from tf_exporter.architectures.bert.config import LayersConfig
from tf_exporter.architectures.encoder_config import (
    WIDEST_HEAD,
    check_activation,
    check_heads,
    read_fields,
)
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import Rope
from tf_exporter.layers.rope_keys import read_flat_rope
from tf_exporter.model.config_file import ConfigFile

UNUSED = (r"pooler\..*", r"lm_head\..*", r"cls\..*", r"classifier\..*", r"qa_outputs\..*")


@dataclass(frozen=True, kw_only=True)
class RotaryBertConfig(LayersConfig):
    """The keys of these models that change a token embedding."""

    theta: ClassVar[float]
    """The default base of rotary positions."""

    vocab_size: int = 30528
    max_position_embeddings: int = 8192
    type_vocab_size: int = 1
    head_size: int
    rope: Rope

    @property
    def max_length(self) -> int | None:
        return self.rope.max_length

    @property
    def fails_beyond(self) -> bool:
        return False

    def counts_padding(self, pad_id: int) -> bool:
        return False  # only distances matter

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        size: int | None = file.take("head_dim", (int, type(None)))
        if size is None:
            size = check_heads(file, keys["hidden_size"], keys["num_attention_heads"])
        if size % 2 or not 2 <= size <= WIDEST_HEAD:
            supported = f"heads of an even size, up to {WIDEST_HEAD}"
            file.refuse(
                UnsupportedError(file.file, "head_dim", size, supported),
                "hidden_size",
                "num_attention_heads",
            )
        size = max(2, min(size, WIDEST_HEAD))
        config = cls(
            **keys,
            head_size=size,
            rope=read_flat_rope(file, cls.theta, keys["max_position_embeddings"], size),
        )
        config.check(file)
        return config

    def check(self, file: ConfigFile) -> None:
        check_activation(file, "hidden_act", self.hidden_act)
