"""NomicBERT with mixtures of experts (Z. Nussbaum, B. Duderstadt, 2025), as published.

transformers 5.24 has no class for it. Its `model_type` is "nomic_bert", and
`nomic_bert/remote_code.py` translates its config.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.encoder_config import check_name
from tf_exporter.architectures.rotary_bert.config import UNUSED, RotaryBertConfig
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

MOST_EXPERTS = 1024
"""Upper bound of the number of experts: each has a subgraph in every layer of experts."""


@dataclass(frozen=True, kw_only=True)
class NomicBertMoeConfig(RotaryBertConfig):
    """The published config in transformers' terms: the keys that change a token embedding."""

    theta = 1000.0

    hidden_act: str = "gelu"
    max_position_embeddings: int = 2048
    type_vocab_size: int = field(default=2, metadata={"least": 0})
    num_experts: int = field(default=8, metadata={"most": MOST_EXPERTS})
    moe_top_k: int = 1
    moe_every_n_layers: int = field(default=2, metadata={"least": 2})

    def check(self, file: ConfigFile) -> None:
        check_name(file, "hidden_act", self.hidden_act, ("gelu",))
        if self.moe_top_k > self.num_experts:
            supported = f"at most {self.num_experts}, the number of experts"
            error = UnsupportedError(file.file, "moe_top_k", self.moe_top_k, supported)
            file.refuse(error, "num_experts")

    def has_experts(self, layer: int) -> bool:
        """Whether this layer, counted from 0, has experts: the second of each group of layers."""
        return layer % self.moe_every_n_layers == 1


NOMIC_BERT_MOE = Architecture(
    config=NomicBertMoeConfig,
    encoder="tf_exporter.architectures.nomic_bert_moe.encoder:NomicBertMoe",
    prefix="nomic_bert",
    unused=UNUSED,
    known_as="nomic_bert",
    verified=False,
)
