"""Gemma (Gemma team, 2024), as `transformers.models.gemma` 5.24.

Llama's layers with norms whose weights are stored less 1, and scaled word embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from typing_extensions import Self

from tf_exporter.architectures.encoder_config import EncoderConfig
from tf_exporter.architectures.head_configs import CausalLMConfig, is_tied, last_token
from tf_exporter.architectures.llama.config import DECODER, LlamaLayersConfig, Masks
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True, kw_only=True)
class GemmaConfig(LlamaLayersConfig):
    """`transformers.GemmaConfig`: the keys that change a token embedding."""

    default_key_value_heads = 16
    null_key_value_heads = False
    default_head_size = 256
    head_size_kinds = (int,)
    norm_offset = 1.0
    scales_embeddings = True

    vocab_size: int = 256_000
    hidden_size: int = 3072
    intermediate_size: int = 24576
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 8192
    attention_bias: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        return self.attention_bias, self.attention_bias, False

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        config = super().read(file)
        # The reference takes this name for the tanh form, which the first configs meant.
        return (
            replace(config, hidden_act="gelu_pytorch_tanh")
            if config.hidden_act == "gelu"
            else config
        )

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        return read_causal(file), None, ("full_attention",) * layers


def read_causal(file: ConfigFile) -> bool:
    """Whether attention is causal.

    `use_bidirectional_attention` alone makes the reference bidirectional only in batches without
    padding, or, in Gemma 2, never. `is_causal` overrides it.
    """
    causal: bool = file.take("is_causal", bool, True)
    if "is_causal" in file:
        file.take("use_bidirectional_attention", (bool, type(None)))
    else:
        file.require("use_bidirectional_attention", (False, None))
    return causal


def tied_causal_lm(file: ConfigFile, config: EncoderConfig) -> CausalLMConfig:
    """The config of the causal language model head, which is tied by default."""
    return CausalLMConfig(is_tied(file, True))


GEMMA = replace(DECODER, config=GemmaConfig, classifier=last_token(0), causal_lm=tied_causal_lm)
