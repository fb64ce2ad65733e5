"""EuroBERT (N. Boizard et al., 2025), as `transformers.models.eurobert` 5.23: Llama's layout, seen from both sides."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class EuroBertConfig(LlamaConfig):
    """`transformers.EuroBertConfig`: the keys that change a token embedding."""

    vocab_size: int = 128256
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """As the base."""
        return self.attention_bias, self.attention_bias, self.mlp_bias


class EuroBert(Llama):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = EuroBertConfig
    unused = (*Llama.unused, r"dense\..*", r"classifier\..*")
    causal = False
    key_value_heads = None
    head_size_kinds = (int, type(None))
    ignored = frozenset(
        "classifier_pooling clf_pooling hidden_dropout pretraining_tp bos_token eos_token pad_token mask_token".split()
    )
